// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Uses heap memory wrongly, in the way that what=NAME says (the table at the end lists them). Prints
 * "memory: NAME returned" when nobody has stopped it. Never load this on a real kernel.
 */
#include <linux/compiler.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

static char *what = "none";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "the wrong use");

/* A value the compiler must not see through. */
static volatile unsigned long forty = 40;

static noinline unsigned char *take(void)
{
	void *block = kmalloc(forty, GFP_KERNEL);

	/* So that the call is no jump, and its caller is on the stack. */
	barrier();
	return block;
}

static noinline void give(void *block)
{
	kfree(block);
	barrier();
}

static noinline void none(void)
{
	unsigned char *block = take();

	if (block)
		memset(block, 1, forty);
	give(block);
}

static noinline void after(void)
{
	volatile unsigned char *block = take();

	/* The end of a string that is one byte too long. */
	block[forty] = 0;
	give((void *)block);
}

static noinline void before(void)
{
	volatile unsigned char *block = take();

	block[-3] = 0x41;
	give((void *)block);
}

/* Changes nothing: it takes a page that is not there to notice. */
static noinline void read_after(void)
{
	volatile unsigned int *block = (void *)take();

	pr_info("memory: read %u\n", block[forty / 4]);
	give((void *)block);
}

static noinline void freed_write(void)
{
	volatile unsigned int *block = (void *)take();

	give((void *)block);
	block[2] = 7;
}

static noinline void freed_read(void)
{
	volatile unsigned int *block = (void *)take();

	give((void *)block);
	pr_info("memory: read %x\n", block[2]);
}

static noinline void cache(void)
{
	struct kmem_cache *cache = kmem_cache_create("memory_test", 72, 0, 0, NULL);
	volatile unsigned char *object;

	if (!cache)
		return;
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	object[72] = 1;
	kmem_cache_free(cache, (void *)object);
	kmem_cache_destroy(cache);
}

static noinline void virtual(void)
{
	volatile unsigned char *block = vmalloc(2 * PAGE_SIZE + forty);

	block[2 * PAGE_SIZE + forty] = 1;
	vfree((void *)block);
	barrier();
}

static noinline void page(void)
{
	volatile unsigned char *block = (void *)__get_free_page(GFP_KERNEL);

	block[PAGE_SIZE] = 1;
	free_page((unsigned long)block);
	barrier();
}

/* Found when the module goes, as nobody ever frees it. */
static noinline void leaked(void)
{
	volatile unsigned char *block = take();

	block[forty] = 1;
}

/* All that ksize() tells of may be used, and what krealloc() grows. */
static noinline void whole(void)
{
	unsigned char *block = take();

	memset(block, 1, ksize(block));
	block = krealloc(block, 60, GFP_KERNEL);
	memset(block, 2, 60);
	give(block);
}

static noinline void twice(void)
{
	unsigned char *block = take();

	give(block);
	give(block);
}

static noinline void inside(void)
{
	unsigned char *block = take();

	give(block + 8);
}

static const struct {
	const char *name;
	void (*commit)(void);
} uses[] = {
	{ "none", none },
	{ "after", after },
	{ "before", before },
	{ "read_after", read_after },
	{ "freed_write", freed_write },
	{ "freed_read", freed_read },
	{ "cache", cache },
	{ "virtual", virtual },
	{ "page", page },
	{ "leaked", leaked },
	{ "whole", whole },
	{ "twice", twice },
	{ "inside", inside },
};

static int __init memory_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(uses); i++) {
		if (strcmp(uses[i].name, what))
			continue;
		uses[i].commit();
		pr_info("memory: %s returned\n", what);
		return 0;
	}
	return -EINVAL;
}

static void __exit memory_exit(void)
{
}

module_init(memory_init);
module_exit(memory_exit);
MODULE_DESCRIPTION("Uses heap memory wrongly, by name");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
