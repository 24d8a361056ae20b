// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Uses the kernel's containers and checks every answer; init fails when one is wrong. */
#include <linux/bitmap.h>
#include <linux/hashtable.h>
#include <linux/idr.h>
#include <linux/init.h>
#include <linux/kfifo.h>
#include <linux/list.h>
#include <linux/list_sort.h>
#include <linux/llist.h>
#include <linux/module.h>
#include <linux/rbtree.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>
#include <linux/xarray.h>

#define COUNT 100

struct item {
	struct list_head node;
	struct hlist_node chain;
	struct llist_node waiting;
	struct rb_node branch;
	unsigned long key;
};

static unsigned int checks, wrong;

#define CHECK(condition)                                                     \
	do {                                                                 \
		checks++;                                                    \
		if (!(condition)) {                                          \
			wrong++;                                             \
			pr_err("structures: line %d: %s\n", __LINE__, #condition); \
		}                                                            \
	} while (0)

/* A permutation of 0..COUNT: 37 and 100 have no common factor. */
static unsigned long key_of(unsigned int i)
{
	return (i * 37) % COUNT;
}

static int by_key(void *unused, const struct list_head *a, const struct list_head *b)
{
	return list_entry(a, struct item, node)->key > list_entry(b, struct item, node)->key;
}

static void check_list(struct item *items)
{
	struct item *item, *next;
	LIST_HEAD(head);
	LIST_HEAD(other);
	unsigned long want = 0;
	unsigned int i;

	CHECK(list_empty(&head));
	for (i = 0; i < COUNT; i++) {
		items[i].key = key_of(i);
		list_add_tail(&items[i].node, &head);
	}
	list_sort(NULL, &head, by_key);
	list_for_each_entry(item, &head, node)
		CHECK(item->key == want++);
	CHECK(want == COUNT);
	list_for_each_entry_safe(item, next, &head, node)
		if (item->key % 2)
			list_move(&item->node, &other);
	CHECK(list_first_entry(&head, struct item, node)->key == 0);
	CHECK(list_first_entry(&other, struct item, node)->key == COUNT - 1);
	list_splice_init(&other, &head);
	CHECK(list_empty(&other));
	list_for_each_entry_safe(item, next, &head, node)
		list_del(&item->node);
	CHECK(list_empty(&head));
}

static void check_hash(struct item *items)
{
	DEFINE_HASHTABLE(table, 4);
	struct item *item;
	unsigned int i, found = 0;

	hash_init(table);
	for (i = 0; i < COUNT; i++)
		hash_add(table, &items[i].chain, items[i].key);
	hash_for_each_possible(table, item, chain, 42)
		found += item->key == 42;
	CHECK(found == 1);
	for (i = 0; i < COUNT; i++)
		hash_del(&items[i].chain);
	CHECK(hash_empty(table));
}

static void check_llist(struct item *items)
{
	LLIST_HEAD(head);
	struct item *item;
	unsigned int i = 0;

	CHECK(llist_add(&items[0].waiting, &head));
	CHECK(!llist_add(&items[1].waiting, &head));
	CHECK(!llist_add(&items[2].waiting, &head));
	llist_for_each_entry(item, llist_reverse_order(llist_del_all(&head)), waiting)
		CHECK(item == &items[i++]);
	CHECK(i == 3 && llist_empty(&head));
}

static void check_rbtree(struct item *items)
{
	struct rb_root root = RB_ROOT;
	struct rb_node *at;
	unsigned long want = 0;
	unsigned int i;

	for (i = 0; i < COUNT; i++) {
		struct rb_node **link = &root.rb_node, *parent = NULL;

		while (*link) {
			parent = *link;
			link = items[i].key < rb_entry(parent, struct item, branch)->key ?
				       &parent->rb_left : &parent->rb_right;
		}
		rb_link_node(&items[i].branch, parent, link);
		rb_insert_color(&items[i].branch, &root);
	}
	for (at = rb_first(&root); at; at = rb_next(at))
		CHECK(rb_entry(at, struct item, branch)->key == want++);
	CHECK(want == COUNT);
	CHECK(rb_entry(rb_last(&root), struct item, branch)->key == COUNT - 1);
	for (i = 0; i < COUNT; i++)
		rb_erase(&items[i].branch, &root);
	CHECK(RB_EMPTY_ROOT(&root));
}

static void check_idr(struct item *items)
{
	struct item *item;
	int id, count = 0;
	DEFINE_IDR(ids);

	for (id = 0; id < COUNT; id++)
		CHECK(idr_alloc(&ids, &items[id], 5, 0, GFP_KERNEL) == id + 5);
	CHECK(idr_find(&ids, 4) == NULL);
	CHECK(idr_find(&ids, 47) == &items[42]);
	CHECK(idr_remove(&ids, 47) == &items[42]);
	CHECK(idr_find(&ids, 47) == NULL);
	CHECK(idr_alloc(&ids, &items[42], 5, 0, GFP_KERNEL) == 47);
	CHECK(idr_alloc(&ids, items, 0, 5, GFP_KERNEL) == 0);
	CHECK(idr_alloc_cyclic(&ids, items, 200, 0, GFP_KERNEL) == 200);
	CHECK(idr_alloc_cyclic(&ids, items, 200, 0, GFP_KERNEL) == 201);
	idr_for_each_entry(&ids, item, id)
		count++;
	CHECK(count == COUNT + 3);
	idr_destroy(&ids);
	CHECK(idr_is_empty(&ids));
}

static void check_ida(void)
{
	DEFINE_IDA(ids);

	CHECK(ida_alloc(&ids, GFP_KERNEL) == 0);
	CHECK(ida_alloc_range(&ids, 10, 11, GFP_KERNEL) == 10);
	CHECK(ida_alloc_range(&ids, 10, 11, GFP_KERNEL) == 11);
	CHECK(ida_alloc_range(&ids, 10, 11, GFP_KERNEL) == -ENOSPC);
	CHECK(ida_alloc_min(&ids, 5000, GFP_KERNEL) == 5000);
	ida_free(&ids, 10);
	CHECK(ida_alloc_min(&ids, 2, GFP_KERNEL) == 2);
	CHECK(ida_alloc_range(&ids, 10, 11, GFP_KERNEL) == 10);
	ida_destroy(&ids);
	CHECK(ida_is_empty(&ids));
}

static void check_xarray(struct item *items)
{
	unsigned long index, want = 0;
	struct item *item;
	DEFINE_XARRAY_ALLOC(array);
	u32 id;

	for (index = 0; index < COUNT; index++)
		CHECK(!xa_is_err(xa_store(&array, index * 1000, &items[index], GFP_KERNEL)));
	xa_for_each(&array, index, item) {
		CHECK(item == &items[want] && index == want * 1000);
		want++;
	}
	CHECK(want == COUNT);
	CHECK(xa_load(&array, 42000) == &items[42]);
	CHECK(xa_load(&array, 42001) == NULL);
	CHECK(xa_erase(&array, 42000) == &items[42]);
	CHECK(xa_load(&array, 42000) == NULL);
	CHECK(xa_insert(&array, 43000, items, GFP_KERNEL) == -EBUSY);
	CHECK(xa_cmpxchg(&array, 43000, &items[43], &items[1], GFP_KERNEL) == &items[43]);
	CHECK(xa_load(&array, 43000) == &items[1]);
	CHECK(xa_alloc(&array, &id, items, xa_limit_32b, GFP_KERNEL) == 0 && id == 1);
	xa_set_mark(&array, 44000, XA_MARK_1);
	CHECK(xa_get_mark(&array, 44000, XA_MARK_1) && !xa_get_mark(&array, 43000, XA_MARK_1));
	index = 0;
	CHECK(xa_find(&array, &index, ULONG_MAX, XA_MARK_1) == &items[44] && index == 44000);
	CHECK(xa_to_value(xa_load(&array, 7)) == 0);
	CHECK(!xa_is_err(xa_store(&array, 7, xa_mk_value(99), GFP_KERNEL)));
	CHECK(xa_to_value(xa_load(&array, 7)) == 99);
	xa_destroy(&array);
	CHECK(xa_empty(&array));
}

static int compare_longs(const void *a, const void *b)
{
	unsigned long left = *(const unsigned long *)a, right = *(const unsigned long *)b;

	return left < right ? -1 : left > right;
}

static void check_arrays(void)
{
	static DECLARE_BITMAP(bits, 200);
	static DEFINE_KFIFO(fifo, unsigned int, 16);
	unsigned long keys[COUNT];
	unsigned int i, value = 0;

	for (i = 0; i < COUNT; i++)
		keys[i] = key_of(i);
	sort(keys, COUNT, sizeof(*keys), compare_longs, NULL);
	for (i = 0; i < COUNT; i++)
		CHECK(keys[i] == i);

	bitmap_zero(bits, 200);
	bitmap_set(bits, 60, 70);
	CHECK(bitmap_weight(bits, 200) == 70);
	CHECK(find_first_bit(bits, 200) == 60);
	CHECK(find_next_zero_bit(bits, 200, 60) == 130);
	CHECK(bitmap_find_next_zero_area(bits, 200, 50, 20, 0) == 130);

	for (i = 0; i < 20; i++)
		CHECK(kfifo_put(&fifo, i) == (i < 16));
	CHECK(kfifo_len(&fifo) == 16 && kfifo_is_full(&fifo));
	for (i = 0; i < 16; i++)
		CHECK(kfifo_get(&fifo, &value) && value == i);
	CHECK(!kfifo_get(&fifo, &value));
}

static void check_strings(void)
{
	char text[32], *at = text, *copy;
	unsigned long number;
	int small;

	CHECK(scnprintf(text, sizeof(text), "%-4s|%#06x|%+d", "ab", 0x1f, 7) == 14);
	CHECK(!strcmp(text, "ab  |0x001f|+7"));
	CHECK(strscpy(text, "one,two,three", 8) == -E2BIG && !strcmp(text, "one,two"));
	CHECK(!strcmp(strsep(&at, ","), "one") && !strcmp(at, "two"));
	CHECK(kstrtoul("0x1ff", 0, &number) == 0 && number == 511);
	CHECK(kstrtoint("-12x", 10, &small) == -EINVAL);
	CHECK(kstrtoint("99999999999", 10, &small) == -ERANGE);
	copy = kasprintf(GFP_KERNEL, "%s-%03u", "item", 42);
	CHECK(copy && !strcmp(copy, "item-042"));
	kfree(copy);
	CHECK(memchr_inv("aaaab", 'a', 5) != NULL && memchr_inv("aaaa", 'a', 4) == NULL);
	CHECK(sysfs_streq("word\n", "word") && !sysfs_streq("word", "words"));
}

static int __init structures_init(void)
{
	struct item *items = kcalloc(COUNT, sizeof(*items), GFP_KERNEL);

	if (!items)
		return -ENOMEM;
	check_list(items);
	check_hash(items);
	check_llist(items);
	check_rbtree(items);
	check_idr(items);
	check_ida();
	check_xarray(items);
	check_arrays();
	check_strings();
	kfree(items);
	pr_info("structures: %u of %u checks passed\n", checks - wrong, checks);
	return wrong ? -EINVAL : 0;
}

static void __exit structures_exit(void)
{
}

module_init(structures_init);
module_exit(structures_exit);
MODULE_DESCRIPTION("Uses lists, trees, idr, xarray, bitmaps and strings");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
