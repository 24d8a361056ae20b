// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Calls the library side of the kernel and checks every answer; init fails when one is wrong. */
#include <linux/cpumask.h>
#include <linux/hashtable.h>
#include <linux/idr.h>
#include <linux/init.h>
#include <linux/interval_tree.h>
#include <linux/io.h>
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/lockref.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/once.h>
#include <linux/parser.h>
#include <linux/percpu.h>
#include <linux/percpu-refcount.h>
#include <linux/percpu_counter.h>
#include <linux/radix-tree.h>
#include <linux/ratelimit.h>
#include <linux/refcount.h>
#include <linux/rhashtable.h>
#include <linux/siphash.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/static_call.h>
#include <linux/string_helpers.h>
#include <linux/uaccess.h>
#include <linux/uuid.h>
#include <linux/vmalloc.h>
#include <linux/xarray.h>

static unsigned int checks, wrong;

#define CHECK(condition)                                                     \
	do {                                                                 \
		checks++;                                                    \
		if (!(condition)) {                                          \
			wrong++;                                             \
			pr_err("library: line %d: %s\n", __LINE__, #condition); \
		}                                                            \
	} while (0)

struct thing {
	u32 key;
	struct rhash_head node;
	struct rcu_head rcu;
	u32 payload;
};

static const struct rhashtable_params things = {
	.key_len = sizeof(u32),
	.key_offset = offsetof(struct thing, key),
	.head_offset = offsetof(struct thing, node),
	.automatic_shrinking = true,
};

static void free_thing(void *thing, void *count)
{
	++*(unsigned int *)count;
	kfree(thing);
}

static void check_rhashtable(void)
{
	struct rhashtable table;
	struct rhashtable_iter iter;
	struct thing *thing;
	unsigned int seen = 0, freed = 0;
	u32 key;

	CHECK(rhashtable_init(&table, &things) == 0);
	for (key = 0; key < 1000; key++) {
		thing = kzalloc(sizeof(*thing), GFP_KERNEL);
		thing->key = key * 7;
		thing->payload = ~key;
		CHECK(rhashtable_insert_fast(&table, &thing->node, things) == 0);
	}
	CHECK(atomic_read(&table.nelems) == 1000);
	thing = kzalloc(sizeof(*thing), GFP_KERNEL);
	thing->key = 7;
	CHECK(rhashtable_lookup_insert_fast(&table, &thing->node, things) == -EEXIST);
	kfree(thing);
	for (key = 0; key < 1000; key++) {
		u32 wanted = key * 7;

		thing = rhashtable_lookup_fast(&table, &wanted, things);
		CHECK(thing && thing->payload == ~key);
	}
	key = 3;
	CHECK(!rhashtable_lookup_fast(&table, &key, things));
	rhashtable_walk_enter(&table, &iter);
	rhashtable_walk_start(&iter);
	while ((thing = rhashtable_walk_next(&iter))) {
		if (IS_ERR(thing))
			continue;
		seen++;
		if (thing->key % 2) {
			CHECK(rhashtable_remove_fast(&table, &thing->node, things) == 0);
			kfree_rcu(thing, rcu);
		}
	}
	rhashtable_walk_stop(&iter);
	rhashtable_walk_exit(&iter);
	CHECK(seen == 1000);
	CHECK(atomic_read(&table.nelems) == 500);
	key = 14;
	CHECK(rhashtable_lookup_fast(&table, &key, things));
	rhashtable_free_and_destroy(&table, free_thing, &freed);
	CHECK(freed == 500);
}

static void check_text(void)
{
	char buffer[64], *cursor, *word;
	const char *const names[] = { "on", "off", "auto", NULL };
	static const match_table_t table = { { 1, "uid=%u" }, { 2, "name=%s" }, { 9, NULL } };
	substring_t args[MAX_OPT_ARGS];
	unsigned long long number;
	unsigned long bits[2];
	int value, numbers[4];
	u8 byte;
	bool flag;
	uuid_t uuid;

	CHECK(kstrtoint("-17\n", 0, &value) == 0 && value == -17);
	CHECK(kstrtoint("2147483648", 0, &value) == -ERANGE);
	CHECK(kstrtou8("256", 10, &byte) == -ERANGE && kstrtou8("0xfe", 0, &byte) == 0 && byte == 0xfe);
	CHECK(kstrtoull("0x", 0, &number) == -EINVAL);
	CHECK(kstrtobool("oN", &flag) == 0 && flag);
	CHECK(simple_strtoul("12ab", &cursor, 10) == 12 && *cursor == 'a');
	CHECK(memparse("3M,", &cursor) == 3 << 20 && *cursor == ',');
	CHECK(*get_options("1,4-6", ARRAY_SIZE(numbers), numbers) == 0 || numbers[0] == 3);
	CHECK(snprintf(buffer, sizeof(buffer), "%s %5d %*pbl %pUb", "x", 42, 8, names, &uuid_null) > 0);
	CHECK(scnprintf(buffer, 5, "%s", "longer") == 4 && !strcmp(buffer, "long"));
	CHECK(sscanf("7 x 0x1f", "%d %s %x", &value, buffer, &numbers[0]) == 3 && value == 7 && numbers[0] == 0x1f);
	strscpy(buffer, "  a=b,c  ", sizeof(buffer));
	word = strim(buffer);
	CHECK(!strcmp(word, "a=b,c"));
	CHECK(!strcmp(strsep(&word, "="), "a") && !strcmp(strsep(&word, ","), "b") && !strcmp(word, "c"));
	CHECK(strscpy(buffer, "too long for this", 8) == -E2BIG && strlen(buffer) == 7);
	CHECK(strlcat(buffer, "!", 8) == 8 && strlen(buffer) == 7);
	CHECK(sysfs_streq("auto\n", "auto") && sysfs_match_string(names, "off\n") == 1);
	CHECK(match_string(names, -1, "auto") == 2 && match_string(names, -1, "none") == -EINVAL);
	CHECK(strnstr("haystack", "st", 4) == NULL && strnstr("haystack", "st", 5));
	CHECK(memchr_inv("aaab", 'a', 4) && !memchr_inv("aaaa", 'a', 4));
	CHECK(hex2bin((u8 *)buffer, "00ff", 2) == 0 && (u8)buffer[1] == 0xff && hex2bin((u8 *)buffer, "0g", 1) < 0);
	strscpy(buffer, "uid=42", sizeof(buffer));
	CHECK(match_token(buffer, table, args) == 1 && match_int(&args[0], &value) == 0 && value == 42);
	strscpy(buffer, "other", sizeof(buffer));
	CHECK(match_token(buffer, table, args) == 9);
	CHECK(uuid_parse("01234567-89ab-cdef-0123-456789abcdef", &uuid) == 0 && uuid.b[1] == 0x23);
	string_get_size(8192, 4096, STRING_UNITS_2, buffer, sizeof(buffer));
	CHECK(!strcmp(buffer, "32.0 MiB"));
	bitmap_zero(bits, 128);
	CHECK(bitmap_parselist("0-3,64,100-127:2/7", bits, 128) == 0 && bitmap_weight(bits, 128) == 13);
	CHECK(find_next_bit(bits, 128, 4) == 64 && find_next_zero_bit(bits, 128, 64) == 65);
	word = kasprintf(GFP_KERNEL, "%d-%s", 5, "five");
	CHECK(word && !strcmp(word, "5-five"));
	kfree(word);
	word = kstrndup("abcdef", 3, GFP_KERNEL);
	CHECK(!strcmp(word, "abc") && ksize(word) >= 4);
	kfree_sensitive(word);
}

static int free_seen;
static void rcu_seen(struct rcu_head *head)
{
	free_seen++;
}

static void constructed(void *object)
{
	*(u32 *)object = 0xc0ffee;
}

static void check_memory(void)
{
	struct kmem_cache *cache = kmem_cache_create("library_cache", 200, 64, 0, constructed);
	struct rcu_head head;
	mempool_t *pool;
	struct page *page;
	void *object, *objects[4];
	char *more;

	CHECK(kmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR);
	object = kmalloc(256, GFP_KERNEL);
	CHECK(object && !((unsigned long)object & 255));
	memset(object, 0x5a, 256);
	more = krealloc(object, 5000, GFP_KERNEL | __GFP_ZERO);
	CHECK(more && more[255] == 0x5a && more[4999] == 0);
	kfree(more);
	more = vzalloc(3 * PAGE_SIZE + 1);
	CHECK(more && is_vmalloc_addr(more) && !((unsigned long)more & ~PAGE_MASK) && more[3 * PAGE_SIZE] == 0);
	CHECK(vmalloc_to_page(more) && page_count(vmalloc_to_page(more)) >= 0);
	vfree(more);
	more = kvmalloc(8 << 20, GFP_KERNEL);
	CHECK(more && is_vmalloc_addr(more));
	kvfree(more);
	CHECK(kmem_cache_size(cache) == 200);
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	CHECK(object && *(u32 *)object == 0xc0ffee && !((unsigned long)object & 63));
	pool = mempool_create_slab_pool(3, cache);
	CHECK(pool && pool->curr_nr == 3);
	CHECK((objects[0] = mempool_alloc(pool, GFP_KERNEL)) != NULL);
	mempool_free(objects[0], pool);
	mempool_destroy(pool);
	kmem_cache_free(cache, object);
	kmem_cache_destroy(cache);
	page = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_COMP, 2);
	CHECK(page && page_count(page) == 1 && compound_order(page) == 2);
	more = page_address(page);
	CHECK(virt_to_page(more + 3 * PAGE_SIZE) == page + 3 && compound_head(page + 3) == page);
	CHECK(page_to_phys(page) == __pa(more) && more[4 * PAGE_SIZE - 1] == 0);
	get_page(page);
	put_page(page);
	CHECK(page_count(page) == 1);
	put_page(page);
	object = (void *)__get_free_pages(GFP_KERNEL, 0);
	CHECK(object && !((unsigned long)object & ~PAGE_MASK));
	free_page((unsigned long)object);
	call_rcu(&head, rcu_seen);
	CHECK(free_seen == 0);
	rcu_barrier();
	CHECK(free_seen == 1);
	CHECK(!memchr_inv(empty_zero_page, 0, PAGE_SIZE));
}

static void check_numbers(void)
{
	DEFINE_IDR(idr);
	DEFINE_IDA(ida);
	DEFINE_XARRAY_ALLOC1(array);
	RADIX_TREE(radix, GFP_KERNEL);
	struct radix_tree_iter iter;
	void **slot;
	int id, i;
	unsigned int seen = 0;
	u32 number, next = 0;
	unsigned long index;
	void *entry;

	CHECK(idr_is_empty(&idr));
	for (i = 0; i < 300; i++)
		CHECK(idr_alloc(&idr, &idr + i, 5, 0, GFP_KERNEL) == i + 5);
	CHECK(idr_find(&idr, 5 + 299) == &idr + 299 && !idr_find(&idr, 4) && !idr_find(&idr, 305));
	CHECK(idr_remove(&idr, 100) == &idr + 95);
	CHECK(idr_alloc_cyclic(&idr, NULL, 5, 0, GFP_KERNEL) == 100);
	CHECK(idr_find(&idr, 100) == NULL && idr_replace(&idr, &idr, 100) == NULL);
	CHECK(idr_alloc(&idr, &idr, 5, 305, GFP_KERNEL) == -ENOSPC);
	idr_for_each_entry(&idr, entry, id)
		seen++;
	CHECK(seen == 300 && !idr_is_empty(&idr));
	idr_destroy(&idr);
	CHECK(idr_is_empty(&idr));

	for (i = 0; i < 200; i++)
		CHECK(ida_alloc(&ida, GFP_KERNEL) == i);
	ida_free(&ida, 77);
	CHECK(ida_alloc_min(&ida, 10, GFP_KERNEL) == 77 && ida_alloc_range(&ida, 0, 199, GFP_KERNEL) == -ENOSPC);
	ida_destroy(&ida);
	CHECK(ida_is_empty(&ida));

	CHECK(xa_empty(&array));
	for (i = 1; i < 100; i++)
		CHECK(xa_alloc_cyclic(&array, &number, xa_mk_value(i), XA_LIMIT(0, 1000), &next, GFP_KERNEL) == 0 && number == i);
	CHECK(xa_to_value(xa_load(&array, 50)) == 50 && xa_insert(&array, 50, &array, GFP_KERNEL) == -EBUSY);
	xa_set_mark(&array, 60, XA_MARK_1);
	CHECK(xa_marked(&array, XA_MARK_1) && xa_get_mark(&array, 60, XA_MARK_1) && !xa_get_mark(&array, 61, XA_MARK_1));
	index = 0;
	entry = xa_find(&array, &index, ULONG_MAX, XA_MARK_1);
	CHECK(index == 60 && xa_to_value(entry) == 60);
	CHECK(xa_to_value(xa_erase(&array, 60)) == 60 && !xa_marked(&array, XA_MARK_1));
	CHECK(xa_err(xa_store(&array, 1UL << 50, &array, GFP_KERNEL)) == 0 && xa_load(&array, 1UL << 50) == &array);
	CHECK(xa_cmpxchg(&array, 50, xa_mk_value(50), NULL, GFP_KERNEL) == xa_mk_value(50) && !xa_load(&array, 50));
	seen = 0;
	xa_for_each(&array, index, entry)
		seen++;
	CHECK(seen == 98);
	xa_destroy(&array);
	CHECK(xa_empty(&array));

	for (index = 0; index < 500; index++)
		CHECK(radix_tree_insert(&radix, index * 3, &checks + index) == 0);
	CHECK(radix_tree_insert(&radix, 3, &checks) == -EEXIST && radix_tree_lookup(&radix, 30) == &checks + 10);
	radix_tree_tag_set(&radix, 300, 1);
	CHECK(radix_tree_tagged(&radix, 1));
	seen = 0;
	radix_tree_for_each_slot(slot, &radix, &iter, 0) {
		CHECK(radix_tree_deref_slot(slot) == &checks + iter.index / 3);
		seen++;
		radix_tree_iter_delete(&radix, &iter, slot);
	}
	CHECK(seen == 500 && radix_tree_empty(&radix) && !radix_tree_tagged(&radix, 1));
}

static int notified[4], notifications;
static int note(struct notifier_block *block, unsigned long event, void *data)
{
	notified[notifications++ & 3] = block->priority;
	return event == 9 && block->priority == 5 ? NOTIFY_BAD : NOTIFY_OK;
}

DEFINE_STATIC_KEY_FALSE(off_key);
DEFINE_STATIC_KEY_TRUE(on_key);
static int one(int x) { return x + 1; }
static int two(int x) { return x * 2; }
DEFINE_STATIC_CALL(library_call, one);
DEFINE_STATIC_SRCU(domain);

static void release_ref(struct percpu_ref *ref)
{
	notifications = 100;
}

static void count_once(int *times)
{
	++*times;
}

static void check_mechanisms(void)
{
	static BLOCKING_NOTIFIER_HEAD(chain);
	struct notifier_block low = { .notifier_call = note, .priority = 1 };
	struct notifier_block high = { .notifier_call = note, .priority = 5 };
	struct rb_root_cached intervals = RB_ROOT_CACHED;
	struct interval_tree_node nodes[20], *node;
	struct percpu_counter counter;
	struct percpu_ref ref;
	struct lockref lockref = { .count = 1 };
	refcount_t count = REFCOUNT_INIT(2);
	DEFINE_RATELIMIT_STATE(limit, HZ, 3);
	siphash_key_t key = { { 1, 2 } };
	int __percpu *percpu;
	DEFINE_SPINLOCK(lock);
	int i, seen, times = 0, index;

	CHECK(blocking_notifier_chain_register(&chain, &low) == 0);
	CHECK(blocking_notifier_chain_register(&chain, &high) == 0);
	CHECK(blocking_notifier_call_chain(&chain, 1, NULL) == NOTIFY_OK && notified[0] == 5 && notified[1] == 1);
	CHECK(blocking_notifier_call_chain(&chain, 9, NULL) == NOTIFY_BAD && notifications == 3);
	CHECK(blocking_notifier_chain_unregister(&chain, &low) == 0);
	CHECK(blocking_notifier_chain_unregister(&chain, &low) == -ENOENT);

	CHECK(!static_branch_unlikely(&off_key) && static_branch_likely(&on_key));
	static_branch_enable(&off_key);
	static_branch_disable(&on_key);
	CHECK(static_branch_unlikely(&off_key) && !static_branch_likely(&on_key));
	static_branch_disable(&off_key);
	static_branch_enable(&on_key);
	CHECK(!static_branch_unlikely(&off_key) && static_branch_likely(&on_key));
	CHECK(static_call(library_call)(20) == 21);
	static_call_update(library_call, two);
	CHECK(static_call(library_call)(20) == 40);

	for (i = 0; i < 3; i++)
		DO_ONCE(count_once, &times);
	CHECK(times == 1);

	for (i = 0; i < 20; i++) {
		nodes[i].start = i * 10;
		nodes[i].last = i * 10 + (i % 4) * 10;
		interval_tree_insert(&nodes[i], &intervals);
	}
	interval_tree_remove(&nodes[5], &intervals);
	seen = 0;
	for (node = interval_tree_iter_first(&intervals, 55, 75); node; node = interval_tree_iter_next(node, 55, 75))
		seen++;
	CHECK(seen == 3);

	CHECK(percpu_counter_init(&counter, 10, GFP_KERNEL) == 0);
	percpu_counter_add(&counter, 100);
	percpu_counter_dec(&counter);
	CHECK(percpu_counter_sum(&counter) == 109);
	percpu_counter_destroy(&counter);
	percpu = alloc_percpu(int);
	CHECK(percpu && *this_cpu_ptr(percpu) == 0);
	this_cpu_add(*percpu, 5);
	seen = 0;
	for_each_possible_cpu(i)
		seen += *per_cpu_ptr(percpu, i);
	CHECK(seen == 5);
	free_percpu(percpu);

	notifications = 0;
	CHECK(percpu_ref_init(&ref, release_ref, PERCPU_REF_INIT_ATOMIC, GFP_KERNEL) == 0);
	CHECK(percpu_ref_tryget(&ref));
	percpu_ref_put(&ref);
	percpu_ref_kill(&ref);
	CHECK(notifications == 100 && percpu_ref_is_zero(&ref));
	percpu_ref_exit(&ref);

	spin_lock_init(&lockref.lock);
	lockref_get(&lockref);
	CHECK(lockref.count == 2 && lockref_put_not_zero(&lockref) && !lockref_put_not_zero(&lockref));
	CHECK(!refcount_dec_and_lock(&count, &lock) && refcount_dec_and_lock(&count, &lock));
	CHECK(spin_is_locked(&lock));
	spin_unlock(&lock);

	seen = 0;
	ratelimit_set_flags(&limit, RATELIMIT_MSG_ON_RELEASE);
	for (i = 0; i < 10; i++)
		seen += __ratelimit(&limit);
	CHECK(seen == 3);
	index = srcu_read_lock(&domain);
	srcu_read_unlock(&domain, index);
	synchronize_srcu(&domain);
	CHECK(siphash_1u64(5, &key) == siphash(&(u64){ 5 }, 8, &key));
	CHECK(cpumask_first(cpu_online_mask) == 0 && cpumask_weight(cpu_online_mask) == num_online_cpus());
	CHECK(hweight64(0xff00ff00ff00ff00ull) == 32 && hweight32(0xf0f0) == 8);
	CHECK(!access_ok((void __user *)-4096l, 1) && copy_from_user(&seen, (void __user *)-4096l, 4) == 4);
	CHECK(!irqs_disabled());
	local_irq_disable();
	CHECK(irqs_disabled());
	local_irq_enable();
	CHECK(!irqs_disabled());
}

static int __init library_init(void)
{
	check_text();
	check_memory();
	check_numbers();
	check_rhashtable();
	check_mechanisms();
	pr_info("library: %u of %u checks passed\n", checks - wrong, checks);
	return wrong ? -EINVAL : 0;
}

static void __exit library_exit(void)
{
	static_call_update(library_call, one);
}

module_init(library_init);
module_exit(library_exit);
MODULE_DESCRIPTION("Calls the library side of the kernel and checks every answer");
MODULE_LICENSE("Dual MIT/GPL");
