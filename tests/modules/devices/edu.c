// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* A driver for QEMU's educational device: identification, liveness, factorials by interrupt, DMA there and back. */
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#define IDENTIFICATION 0x00
#define LIVENESS 0x04
#define FACTORIAL 0x08
#define STATUS 0x20
#define CAUSES 0x24
#define ACKNOWLEDGE 0x64
#define DMA_SOURCE 0x80
#define DMA_DESTINATION 0x88
#define DMA_COUNT 0x90
#define DMA_COMMAND 0x98
#define BUFFER 0x40000
#define BYTES 256

static bool msi = true;
module_param(msi, bool, 0444);
MODULE_PARM_DESC(msi, "interrupts as messages and not by the line");

struct edu {
	struct pci_dev *function;
	void __iomem *registers;
	struct completion done;
	u32 causes;
	unsigned int interrupts;
};

static irqreturn_t handle(int line, void *data)
{
	struct edu *edu = data;
	u32 causes = readl(edu->registers + CAUSES);

	if (!causes || causes == ~0U)
		return IRQ_NONE;
	edu->causes = causes;
	edu->interrupts++;
	writel(causes, edu->registers + ACKNOWLEDGE);
	complete(&edu->done);
	return IRQ_HANDLED;
}

static int wait(struct edu *edu, u32 causes)
{
	if (!wait_for_completion_timeout(&edu->done, HZ))
		return -ETIMEDOUT;
	return edu->causes == causes ? 0 : -EIO;
}

static ssize_t factorial_show(struct device *device, struct device_attribute *attribute, char *page)
{
	struct edu *edu = dev_get_drvdata(device);

	return sysfs_emit(page, "%u\n", readl(edu->registers + FACTORIAL));
}

static ssize_t factorial_store(struct device *device, struct device_attribute *attribute, const char *text,
			       size_t count)
{
	struct edu *edu = dev_get_drvdata(device);
	u32 number;
	int error = kstrtou32(text, 0, &number);

	if (error)
		return error;
	reinit_completion(&edu->done);
	writel(0x80, edu->registers + STATUS);
	writel(number, edu->registers + FACTORIAL);
	error = wait(edu, 1);
	return error ? error : count;
}
static DEVICE_ATTR_RW(factorial);

static ssize_t interrupts_show(struct device *device, struct device_attribute *attribute, char *page)
{
	struct edu *edu = dev_get_drvdata(device);

	return sysfs_emit(page, "%u\n", edu->interrupts);
}
static DEVICE_ATTR_RO(interrupts);

static struct attribute *edu_attrs[] = { &dev_attr_factorial.attr, &dev_attr_interrupts.attr, NULL };
ATTRIBUTE_GROUPS(edu);

static int transfer(struct edu *edu, u64 from, u64 to, u64 command)
{
	reinit_completion(&edu->done);
	writeq(from, edu->registers + DMA_SOURCE);
	writeq(to, edu->registers + DMA_DESTINATION);
	writeq(BYTES, edu->registers + DMA_COUNT);
	writeq(command, edu->registers + DMA_COMMAND);
	return wait(edu, 0x100);
}

static int try_dma(struct edu *edu)
{
	dma_addr_t handle;
	u8 *memory = dma_alloc_coherent(&edu->function->dev, 2 * BYTES, &handle, GFP_KERNEL);
	unsigned int i;
	int error;

	if (!memory)
		return -ENOMEM;
	for (i = 0; i < BYTES; i++)
		memory[i] = i ^ 0x5a;
	error = transfer(edu, handle, BUFFER, 1 | 4);
	if (!error)
		error = transfer(edu, BUFFER, handle + BYTES, 1 | 2 | 4);
	if (!error && memcmp(memory, memory + BYTES, BYTES))
		error = -EILSEQ;
	dma_free_coherent(&edu->function->dev, 2 * BYTES, memory, handle);
	return error;
}

static int edu_probe(struct pci_dev *function, const struct pci_device_id *id)
{
	struct edu *edu;
	u32 number;
	int error;

	edu = devm_kzalloc(&function->dev, sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	edu->function = function;
	init_completion(&edu->done);
	pci_set_drvdata(function, edu);

	error = pci_enable_device(function);
	if (error)
		return error;
	error = pci_request_regions(function, KBUILD_MODNAME);
	if (error)
		goto disable;
	error = dma_set_mask_and_coherent(&function->dev, DMA_BIT_MASK(64));
	if (error)
		goto release;
	pci_set_master(function);
	error = -ENOMEM;
	edu->registers = pci_iomap(function, 0, 0);
	if (!edu->registers)
		goto release;

	error = -ENODEV;
	number = readl(edu->registers + IDENTIFICATION);
	dev_info(&function->dev, "identification %08x\n", number);
	if ((number & 0xff) != 0xed)
		goto unmap;
	writel(0x12345678, edu->registers + LIVENESS);
	if (readl(edu->registers + LIVENESS) != ~0x12345678U)
		goto unmap;

	error = pci_alloc_irq_vectors(function, 1, 1, msi ? PCI_IRQ_MSI : PCI_IRQ_LEGACY);
	if (error < 0)
		goto unmap;
	error = request_irq(pci_irq_vector(function, 0), handle, IRQF_SHARED, KBUILD_MODNAME, edu);
	if (error)
		goto vectors;
	error = try_dma(edu);
	dev_info(&function->dev, "%s, DMA %d\n", function->msi_enabled ? "messages" : "line", error);
	if (!error)
		return 0;
	free_irq(pci_irq_vector(function, 0), edu);
vectors:
	pci_free_irq_vectors(function);
unmap:
	pci_iounmap(function, edu->registers);
release:
	pci_release_regions(function);
disable:
	pci_disable_device(function);
	return error;
}

static void edu_remove(struct pci_dev *function)
{
	struct edu *edu = pci_get_drvdata(function);

	free_irq(pci_irq_vector(function, 0), edu);
	pci_free_irq_vectors(function);
	pci_iounmap(function, edu->registers);
	pci_release_regions(function);
	pci_disable_device(function);
	dev_info(&function->dev, "gone after %u interrupts\n", edu->interrupts);
}

static const struct pci_device_id edu_ids[] = { { PCI_DEVICE(0x1234, 0x11e8) }, { } };
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name = "edu",
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
	.driver.dev_groups = edu_groups,
};
module_pci_driver(edu_driver);
MODULE_DESCRIPTION("Drives QEMU's educational device");
MODULE_LICENSE("Dual MIT/GPL");
