// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Does, on request, one of the things that bring a kernel down.
 *
 *   what=NAME   the fault (the table at the end lists them)
 *   when=init   it happens in init (the default), or in exit, work, timer
 *
 * A fault that the kernel survives prints "faults: NAME returned" and init succeeds, so that
 * "it was stopped" and "it went through" look different in the log. Never load this on a real kernel.
 */
#include <linux/bug.h>
#include <linux/compiler.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/objtool.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

static char *what = "none";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "the fault to commit");

static char *when = "init";
module_param(when, charp, 0444);
MODULE_PARM_DESC(when, "where to commit it: init, exit, work or timer");

/* Values the compiler must not see through. */
static volatile unsigned long zero;
static volatile unsigned long sixty_four = 64;
static unsigned char scratch[256];
static const unsigned int constant[4] = { 1, 2, 3, 4 };

struct item {
	struct list_head node;
	unsigned long value[6];
};

static noinline void fault_none(void)
{
}

/* Memory that is not there. */

static noinline void fault_null(void)
{
	*(volatile unsigned int *)zero = 1;
}

static noinline void fault_null_read(void)
{
	pr_info("faults: read %u\n", *(volatile unsigned int *)(zero + 16));
}

static noinline void fault_noncanonical(void)
{
	*(volatile unsigned int *)(zero + 0xdead000000000100) = 1;
}

static noinline void fault_user(void)
{
	*(volatile unsigned int *)(zero + 0x400000) = 1;
}

static noinline void fault_memcpy(void)
{
	void *(*volatile copy)(void *, const void *, size_t) = memcpy;

	copy((void *)zero, scratch, sixty_four);
}

static noinline void fault_stack(void)
{
	volatile char frame[512];

	frame[zero] = 1;
	fault_stack();
	/* Used after the call, so that the recursion does not become a loop. */
	frame[1] = frame[zero];
}

/* Memory that is not to be written. */

static noinline void fault_rodata(void)
{
	*(volatile unsigned int *)&constant[zero] = 5;
}

static noinline void fault_text(void)
{
	*(volatile unsigned char *)fault_none = 0xcc;
}

/* Code that is not there. */

static noinline void fault_wild(void)
{
	void (*volatile call)(void) = (void (*)(void))(zero + 0xffffffffdeadbee0);

	call();
}

static noinline void fault_null_call(void)
{
	void (*volatile call)(void) = (void (*)(void))zero;

	call();
}

static noinline void fault_data_call(void)
{
	void (*volatile call)(void) = (void (*)(void))scratch;

	scratch[0] = 0xc3;
	call();
}

/* What a module asserts. */

static noinline void fault_bug(void)
{
	BUG_ON(zero == 0);
}

static noinline void fault_warn(void)
{
	int answer = WARN(zero == 0, "faults: warned on purpose, zero=%lu\n", zero);

	pr_info("faults: WARN answered %d\n", answer);
}

static noinline void fault_warn_once(void)
{
	int i;

	for (i = 0; i < 3; i++)
		WARN_ON_ONCE(zero == 0);
}

static noinline void fault_panic(void)
{
	panic("faults: panic on purpose");
}

/* Instructions of ring 0. */

static noinline void fault_cli(void)
{
	asm volatile("cli" : : : "memory");
}

static noinline void fault_hlt(void)
{
	asm volatile("hlt" : : : "memory");
}

static noinline void fault_cr3(void)
{
	asm volatile("mov %0, %%cr3" : : "r"(zero) : "memory");
}

static noinline void fault_read_cr0(void)
{
	unsigned long value;

	asm volatile("mov %%cr0, %0" : "=r"(value));
	pr_info("faults: cr0 %lx\n", value);
}

static noinline void fault_wrmsr(void)
{
	asm volatile("wrmsr" : : "c"(0xc0000080), "a"(0), "d"(0) : "memory");
}

static noinline void fault_ud2(void)
{
	/* No entry in the bug table: not a BUG, an invalid opcode. */
	asm volatile("ud2\n" ASM_REACHABLE);
}

static noinline void fault_int3(void)
{
	asm volatile("int3");
}

static noinline void fault_port(void)
{
	outb(0x5a, 0x80);
	pr_info("faults: port 0x80 read %x\n", inb(0x80));
}

static noinline void fault_syscall(void)
{
	unsigned long answer = 39; /* getpid */

	asm volatile("syscall" : "+a"(answer) : : "rcx", "r11", "memory");
	pr_info("faults: syscall answered %ld\n", answer);
}
STACK_FRAME_NON_STANDARD(fault_syscall);

/* A syscall that would end the process, were it let through. */
static noinline void fault_syscall_exit(void)
{
	unsigned long answer = 231; /* exit_group */

	asm volatile("syscall" : "+a"(answer) : "D"(zero) : "rcx", "r11", "memory");
	pr_info("faults: syscall answered %ld\n", answer);
}
STACK_FRAME_NON_STANDARD(fault_syscall_exit);

static noinline void fault_divide(void)
{
	pr_info("faults: quotient %lu\n", sixty_four / zero);
}

static noinline void fault_divide_overflow(void)
{
	unsigned int low = 0, high = 64, by = 2;

	asm volatile("divl %2" : "+a"(low), "+d"(high) : "r"(by));
	pr_info("faults: quotient %u\n", low);
}

/* What never ends. */

static noinline void fault_loop(void)
{
	while (!zero)
		barrier();
}

static noinline void fault_kernel_loop(void)
{
	while (!zero)
		scnprintf(scratch, sizeof(scratch), "%lu %s", sixty_four, what);
}

static noinline void fault_sleep(void)
{
	while (!zero)
		msleep(1000);
}

static noinline void fault_deadlock(void)
{
	static DEFINE_MUTEX(lock);

	mutex_lock(&lock);
	mutex_lock(&lock);
}

static noinline void fault_spin(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	spin_lock(&lock);
}

/* The heap and what lives in it. */

static noinline void fault_double_free(void)
{
	void *block = kmalloc(sixty_four, GFP_KERNEL);

	kfree(block);
	kfree(block);
}

static noinline void fault_free_wild(void)
{
	kfree(scratch + 3);
}

static noinline void fault_use_after_free(void)
{
	unsigned long *block = kmalloc(sixty_four, GFP_KERNEL);
	unsigned long *again;

	if (!block)
		return;
	kfree(block);
	block[1] = 0xdeadbeef;
	again = kmalloc(sixty_four, GFP_KERNEL);
	pr_info("faults: the next block is %s\n", again == block ? "the same" : "another");
	kfree(again);
}

static noinline void fault_overrun(void)
{
	unsigned char *block = kmalloc(sixty_four, GFP_KERNEL);

	if (!block)
		return;
	((volatile unsigned char *)block)[sixty_four] = 0xaa;
	kfree(block);
}

static noinline void fault_list(void)
{
	static LIST_HEAD(head);
	static struct item one, two;

	list_add(&one.node, &head);
	list_add(&two.node, &head);
	list_del(&one.node);
	list_del(&one.node);
}

static noinline void fault_list_add(void)
{
	static LIST_HEAD(head);
	static struct item one, two;

	list_add(&one.node, &head);
	one.node.prev = &two.node;
	list_add_tail(&two.node, &one.node);
}

static noinline void fault_freed_list(void)
{
	static LIST_HEAD(head);
	struct item *one = kzalloc(sizeof(*one), GFP_KERNEL);
	struct item *two = kzalloc(sizeof(*two), GFP_KERNEL);

	if (!one || !two)
		return;
	list_add(&one->node, &head);
	list_add(&two->node, &head);
	kfree(one);
	/* Overwrites the freed node, if the allocator gives the block out again. */
	one = kmalloc(sizeof(*one), GFP_KERNEL);
	if (one)
		memset(one, 0x6b, sizeof(*one));
	list_del(&two->node);
	kfree(two);
	kfree(one);
}

static noinline void fault_refcount(void)
{
	static refcount_t count = REFCOUNT_INIT(1);

	pr_info("faults: last reference %d\n", refcount_dec_and_test(&count));
	refcount_inc(&count);
	refcount_dec(&count);
}

static noinline void fault_fortify(void)
{
	struct {
		char small[8];
		char beside[56];
	} both;

	memset(&both, 0, sizeof(both));
	memcpy(both.small, scratch, sixty_four + sizeof(both));
	pr_info("faults: copied %x\n", both.beside[0]);
}

static noinline void fault_canary(void)
{
	char frame[16];
	volatile char *at = frame;
	unsigned long i;

	for (i = 0; i < sixty_four / 2; i++)
		at[i] = 0x41;
	pr_info("faults: frame begins with %c\n", frame[0]);
}

/* The rules of execution. */

static noinline void fault_irqs_off(void)
{
	local_irq_disable();
}

static noinline void fault_atomic_sleep(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	msleep(1);
	spin_unlock(&lock);
}

static const struct {
	const char *name;
	void (*commit)(void);
} faults[] = {
	{ "none", fault_none },
	{ "null", fault_null },
	{ "null_read", fault_null_read },
	{ "noncanonical", fault_noncanonical },
	{ "user", fault_user },
	{ "memcpy", fault_memcpy },
	{ "stack", fault_stack },
	{ "rodata", fault_rodata },
	{ "text", fault_text },
	{ "wild", fault_wild },
	{ "null_call", fault_null_call },
	{ "data_call", fault_data_call },
	{ "bug", fault_bug },
	{ "warn", fault_warn },
	{ "warn_once", fault_warn_once },
	{ "panic", fault_panic },
	{ "cli", fault_cli },
	{ "hlt", fault_hlt },
	{ "cr3", fault_cr3 },
	{ "read_cr0", fault_read_cr0 },
	{ "wrmsr", fault_wrmsr },
	{ "ud2", fault_ud2 },
	{ "int3", fault_int3 },
	{ "port", fault_port },
	{ "syscall", fault_syscall },
	{ "syscall_exit", fault_syscall_exit },
	{ "divide", fault_divide },
	{ "divide_overflow", fault_divide_overflow },
	{ "loop", fault_loop },
	{ "kernel_loop", fault_kernel_loop },
	{ "sleep", fault_sleep },
	{ "deadlock", fault_deadlock },
	{ "spin", fault_spin },
	{ "double_free", fault_double_free },
	{ "free_wild", fault_free_wild },
	{ "use_after_free", fault_use_after_free },
	{ "overrun", fault_overrun },
	{ "list", fault_list },
	{ "list_add", fault_list_add },
	{ "freed_list", fault_freed_list },
	{ "refcount", fault_refcount },
	{ "fortify", fault_fortify },
	{ "canary", fault_canary },
	{ "irqs_off", fault_irqs_off },
	{ "atomic_sleep", fault_atomic_sleep },
};

static int commit(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		if (strcmp(faults[i].name, what))
			continue;
		pr_info("faults: %s\n", what);
		faults[i].commit();
		pr_info("faults: %s returned\n", what);
		return 0;
	}
	pr_err("faults: no fault is called '%s'\n", what);
	return -EINVAL;
}

static void in_work(struct work_struct *work)
{
	commit();
}

static void in_timer(struct timer_list *timer)
{
	commit();
}

static DECLARE_WORK(work, in_work);
static DEFINE_TIMER(timer, in_timer);

static int __init faults_init(void)
{
	if (!strcmp(when, "init"))
		return commit();
	if (!strcmp(when, "work"))
		schedule_work(&work);
	else if (!strcmp(when, "timer"))
		mod_timer(&timer, jiffies + 1);
	else if (strcmp(when, "exit"))
		return -EINVAL;
	return 0;
}

static void __exit faults_exit(void)
{
	if (!strcmp(when, "exit"))
		commit();
	cancel_work_sync(&work);
	del_timer_sync(&timer);
}

module_init(faults_init);
module_exit(faults_exit);
MODULE_DESCRIPTION("Commits one fault, by name");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
