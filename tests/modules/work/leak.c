// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Takes memory and never gives it back: count blocks of the given kind and size. */
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

static char *kind = "kmalloc";
module_param(kind, charp, 0444);
MODULE_PARM_DESC(kind, "kmalloc, vmalloc, pages, cache (an object of a slab cache that stays) or string");

static unsigned int count = 1;
module_param(count, uint, 0444);

static unsigned int bytes = 100;
module_param(bytes, uint, 0444);

static struct kmem_cache *cache;
/* Kept reachable: what is left behind is a leak by ownership, not by reachability. */
static void *last;

static void *take(void)
{
	if (!strcmp(kind, "kmalloc"))
		return kmalloc(bytes, GFP_KERNEL);
	if (!strcmp(kind, "vmalloc"))
		return vmalloc(bytes);
	if (!strcmp(kind, "pages"))
		return (void *)__get_free_pages(GFP_KERNEL, get_order(bytes));
	if (!strcmp(kind, "cache"))
		return kmem_cache_alloc(cache, GFP_KERNEL);
	if (!strcmp(kind, "string"))
		return kstrdup("left behind", GFP_KERNEL);
	return NULL;
}

static int __init leak_init(void)
{
	unsigned int i;

	if (!strcmp(kind, "cache")) {
		cache = kmem_cache_create("ferrmod_leak", bytes, 0, 0, NULL);
		if (!cache)
			return -ENOMEM;
	}
	for (i = 0; i < count; i++) {
		last = take();
		if (!last)
			return -EINVAL;
	}
	pr_info("leak: took %u times %u bytes by %s\n", count, bytes, kind);
	return 0;
}

static void __exit leak_exit(void)
{
}

module_init(leak_init);
module_exit(leak_exit);
MODULE_DESCRIPTION("Leaves memory behind");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
