// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A disk with a queue of requests, a write cache and no writes past it. A word written to its parameter `ask` is a question to the
 * block layer; what became of it is read from `said`.
 */
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/module.h>

#define SECTORS 64
#define SHORT (HZ / 5)

static struct blk_mq_tag_set set;
static struct gendisk *disk;
static struct page *page;
static struct bio_set bios;

static char said[256];
module_param_string(said, said, sizeof(said), 0444);
MODULE_PARM_DESC(said, "what became of the last question");

static DEFINE_SPINLOCK(lock);
/* How many of the next requests are not answered, and those that were not. */
static unsigned int silent;
static struct request *kept[4];
/* Whether the end of one request's time is the end of all. */
static bool all_at_once;

static void say(const char *format, ...)
{
	size_t length = strlen(said);
	va_list list;

	va_start(list, format);
	vscnprintf(said + length, sizeof(said) - length, format, list);
	va_end(list);
}

static blk_status_t serve(struct blk_mq_hw_ctx *context, const struct blk_mq_queue_data *data)
{
	struct request *request = data->rq;
	unsigned long flags;
	bool keeps = false;
	int i;

	blk_mq_start_request(request);
	spin_lock_irqsave(&lock, flags);
	say("%d%s%s ", req_op(request), request->cmd_flags & REQ_PREFLUSH && req_op(request) != REQ_OP_FLUSH ? "p" : "",
	    request->cmd_flags & REQ_FUA ? "f" : "");
	if (silent) {
		silent--;
		keeps = true;
		for (i = 0; i < ARRAY_SIZE(kept); i++)
			if (!kept[i]) {
				kept[i] = request;
				break;
			}
	}
	spin_unlock_irqrestore(&lock, flags);
	if (!keeps)
		blk_mq_end_request(request, BLK_STS_OK);
	return BLK_STS_OK;
}

static enum blk_eh_timer_return is_late(struct request *request)
{
	int i;

	say("late%u ", request->timeout / SHORT);
	for (i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i] && (all_at_once || kept[i] == request)) {
			struct request *one = kept[i];

			kept[i] = NULL;
			blk_mq_end_request(one, BLK_STS_TIMEOUT);
		}
	return BLK_EH_DONE;
}

static const struct blk_mq_ops table = { .queue_rq = serve, .timeout = is_late };
static const struct block_device_operations operations = { .owner = THIS_MODULE };

static atomic_t left;
static DECLARE_COMPLETION(done);

static void ended(struct bio *bio)
{
	say("%d ", blk_status_to_errno(bio->bi_status));
	bio_put(bio);
	if (atomic_dec_and_test(&left))
		complete(&done);
}

/* Some transfers at once. */
static void transfer(unsigned int count, blk_opf_t what, unsigned int size)
{
	unsigned int i;

	reinit_completion(&done);
	atomic_set(&left, count);
	for (i = 0; i < count; i++) {
		struct bio *bio = bio_alloc_bioset(disk->part0, 1, what, GFP_KERNEL, &bios);

		bio->bi_end_io = ended;
		bio->bi_iter.bi_sector = 8 * i;
		if (size)
			bio_add_page(bio, page, size, 0);
		submit_bio(bio);
	}
	wait_for_completion(&done);
}

static enum rq_end_io_ret command_ended(struct request *request, blk_status_t status)
{
	say("%d ", blk_status_to_errno(status));
	if (atomic_dec_and_test(&left))
		complete(&done);
	return RQ_END_IO_FREE;
}

/* A command that may take some jiffies, and is not answered. */
static struct request *command(unsigned int jiffies)
{
	struct request *request = blk_mq_alloc_request(disk->queue, REQ_OP_DRV_IN, 0);

	if (IS_ERR(request))
		return NULL;
	request->timeout = jiffies;
	request->end_io = command_ended;
	blk_execute_rq_nowait(request, false);
	return request;
}

static void reserve(void)
{
	/* There are none, and without the second flag it would be tried for ever. */
	struct request *request =
		blk_mq_alloc_request(disk->queue, REQ_OP_DRV_IN, BLK_MQ_REQ_RESERVED | BLK_MQ_REQ_NOWAIT);

	say("%d ", PTR_ERR_OR_ZERO(request));
	if (!IS_ERR(request))
		blk_mq_free_request(request);
}

static void look(void)
{
	struct request *request = blk_mq_alloc_request(disk->queue, REQ_OP_DRV_IN, 0);

	if (IS_ERR(request))
		return;
	say("%lld %u ", (long long)blk_rq_pos(request), blk_rq_bytes(request));
	blk_mq_free_request(request);
}

static void translate(void)
{
	static const int errors[] = { 0, -EBUSY, -ENODEV, -EOVERFLOW, -EINVAL, -ENOMEM, -EAGAIN, -ETIME };
	int i;

	for (i = 0; i <= 13; i++)
		say("%d ", blk_status_to_errno(i));
	say("%d ", blk_status_to_errno(BLK_STS_OFFLINE));
	for (i = 0; i < ARRAY_SIZE(errors); i++)
		say("%u ", errno_to_blk_status(errors[i]));
}

static void two_times(void)
{
	struct request *slow;

	reinit_completion(&done);
	atomic_set(&left, 2);
	silent = 2;
	slow = command(100 * SHORT);
	if (!slow || !command(SHORT))
		return;
	/* The second is over long before the first. */
	while (atomic_read(&left) > 1)
		schedule_timeout_uninterruptible(1);
	blk_abort_request(slow);
	wait_for_completion(&done);
}

static int ask(const char *text, const struct kernel_param *parameter)
{
	said[0] = 0;
	if (sysfs_streq(text, "write")) {
		transfer(1, REQ_OP_WRITE, PAGE_SIZE);
	} else if (sysfs_streq(text, "flush")) {
		transfer(1, REQ_OP_WRITE | REQ_PREFLUSH, 0);
	} else if (sysfs_streq(text, "past")) {
		transfer(1, REQ_OP_WRITE | REQ_FUA, PAGE_SIZE);
	} else if (sysfs_streq(text, "both")) {
		transfer(1, REQ_OP_WRITE | REQ_PREFLUSH | REQ_FUA, PAGE_SIZE);
	} else if (sysfs_streq(text, "late")) {
		all_at_once = true;
		silent = 2;
		transfer(2, REQ_OP_READ, PAGE_SIZE);
		all_at_once = false;
	} else if (sysfs_streq(text, "two")) {
		two_times();
	} else if (sysfs_streq(text, "reserved")) {
		reserve();
	} else if (sysfs_streq(text, "look")) {
		look();
	} else if (sysfs_streq(text, "translate")) {
		translate();
	} else {
		return -EINVAL;
	}
	return 0;
}

static const struct kernel_param_ops ops = { .set = ask };
module_param_cb(ask, &ops, NULL, 0200);
MODULE_PARM_DESC(ask, "write, flush, past, both, late, two, reserved, look or translate");

static int __init requests_init(void)
{
	int error;

	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!page)
		return -ENOMEM;
	error = bioset_init(&bios, 4, 0, BIOSET_NEED_BVECS);
	if (error)
		goto free_page;
	set.ops = &table;
	set.nr_hw_queues = 1;
	set.queue_depth = 4;
	set.numa_node = NUMA_NO_NODE;
	set.flags = BLK_MQ_F_NO_SCHED_BY_DEFAULT;
	set.timeout = SHORT;
	error = blk_mq_alloc_tag_set(&set);
	if (error)
		goto free_bios;
	disk = blk_mq_alloc_disk(&set, NULL);
	if (IS_ERR(disk)) {
		error = PTR_ERR(disk);
		goto free_set;
	}
	disk->fops = &operations;
	strscpy(disk->disk_name, "requests", sizeof(disk->disk_name));
	set_capacity(disk, SECTORS);
	blk_queue_write_cache(disk->queue, true, false);
	error = add_disk(disk);
	if (error)
		goto put;
	return 0;
put:
	put_disk(disk);
free_set:
	blk_mq_free_tag_set(&set);
free_bios:
	bioset_exit(&bios);
free_page:
	__free_page(page);
	return error;
}

static void __exit requests_exit(void)
{
	del_gendisk(disk);
	put_disk(disk);
	blk_mq_free_tag_set(&set);
	bioset_exit(&bios);
	__free_page(page);
}

module_init(requests_init);
module_exit(requests_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("questions to the block layer");
