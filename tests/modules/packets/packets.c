// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Packets through netfilter matches and packet schedulers that other modules have registered; /proc/ferrmod_packets says what
 * became of them.
 *
 * Schedulers are found as a kernel finds them: in the list that begins with pfifo. The device below them is not registered.
 */
#include <linux/icmp.h>
#include <linux/init.h>
#include <linux/ip.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_dscp.h>
#include <linux/netfilter/xt_length.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_statistic.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv4/ipt_ttl.h>
#include <linux/proc_fs.h>
#include <linux/rtnetlink.h>
#include <linux/seq_file.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/pkt_sched.h>
#include <net/sch_generic.h>

#define ROOM 8192
static char *said;
static int used;

static __printf(1, 2) void say(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	used += vscnprintf(said + used, ROOM - used, format, list);
	va_end(list);
}

static int show(struct seq_file *file, void *unused)
{
	seq_write(file, said, used);
	return 0;
}

/* What a packet is made of. */
struct recipe {
	u8 protocol, tos, ttl;
	u16 from, to, payload;
	u32 mark;
	u8 flags;
};

static const struct recipe recipes[] = {
	{ IPPROTO_TCP, 0x00, 64, 1024, 80, 0, 0, 0x02 },
	{ IPPROTO_TCP, 0x00, 64, 80, 1024, 1000, 7, 0x10 },
	{ IPPROTO_TCP, 0x28, 1, 40000, 443, 1, 0x107, 0x11 },
	{ IPPROTO_UDP, 0x00, 128, 5353, 53, 40, 1, 0 },
	{ IPPROTO_UDP, 0xb8, 255, 53, 5353, 512, 0, 0 },
	{ IPPROTO_ICMP, 0x00, 64, 0, 0, 56, 0, 0 },
};

static struct sk_buff *make(const struct recipe *recipe)
{
	unsigned int header = recipe->protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
	unsigned int length = sizeof(struct iphdr) + header + recipe->payload;
	struct sk_buff *skb = alloc_skb(length + 64, GFP_KERNEL);
	struct iphdr *ip;

	if (!skb)
		return NULL;
	skb_reserve(skb, 64);
	ip = skb_put_zero(skb, length);
	skb_reset_network_header(skb);
	skb_set_transport_header(skb, sizeof(*ip));
	skb->protocol = htons(ETH_P_IP);
	skb->mark = recipe->mark;
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = recipe->tos;
	ip->ttl = recipe->ttl;
	ip->protocol = recipe->protocol;
	ip->tot_len = htons(length);
	ip->saddr = htonl(0x0a000001);
	ip->daddr = htonl(0x0a000002);
	if (recipe->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = tcp_hdr(skb);

		tcp->source = htons(recipe->from);
		tcp->dest = htons(recipe->to);
		tcp->doff = 5;
		((u8 *)tcp)[13] = recipe->flags;
	} else if (recipe->protocol == IPPROTO_UDP) {
		struct udphdr *udp = udp_hdr(skb);

		udp->source = htons(recipe->from);
		udp->dest = htons(recipe->to);
		udp->len = htons(header + recipe->payload);
	}
	return skb;
}

/* Asks a match about every packet. */
static void ask(const char *what, const char *name, u8 revision, u16 protocol, void *info, u32 size)
{
	static const struct nf_hook_state state = { .hook = NF_INET_LOCAL_IN, .pf = NFPROTO_IPV4, .net = &init_net };
	struct ipt_entry entry = { .ip.proto = protocol };
	struct xt_mtchk_param check = {
		.net = &init_net,
		.table = "filter",
		.entryinfo = &entry.ip,
		.matchinfo = info,
		.hook_mask = 1 << NF_INET_LOCAL_IN,
		.family = NFPROTO_IPV4,
	};
	struct xt_match *match = xt_request_find_match(NFPROTO_IPV4, name, revision);
	unsigned int i;
	int error;

	if (IS_ERR(match)) {
		say("%s: no match %s %u: %ld\n", what, name, revision, PTR_ERR(match));
		return;
	}
	check.match = match;
	error = xt_check_match(&check, XT_ALIGN(size), protocol, false);
	say("%s: check %d:", what, error);
	for (i = 0; !error && i < ARRAY_SIZE(recipes); i++) {
		struct sk_buff *skb = make(&recipes[i]);
		struct xt_action_param par = {
			.match = match,
			.matchinfo = info,
			.thoff = sizeof(struct iphdr),
			.state = &state,
		};
		bool matches;

		if (!skb)
			break;
		if (protocol && protocol != recipes[i].protocol) {
			say(" -");
		} else {
			matches = match->match(skb, &par);
			say(" %d%s", matches, par.hotdrop ? "!" : "");
		}
		kfree_skb(skb);
	}
	say("\n");
	if (!error && match->destroy) {
		struct xt_mtdtor_param gone = {
			.net = &init_net, .match = match, .matchinfo = info, .family = NFPROTO_IPV4,
		};

		match->destroy(&gone);
	}
	module_put(match->me);
}

#define ASK(what, name, revision, protocol, type, ...) do {				\
	union { type info; char room[XT_ALIGN(sizeof(type))]; } u = { .info = { __VA_ARGS__ } };	\
	ask(what, name, revision, protocol, &u, sizeof(type));				\
} while (0)

static void matches(void)
{
	ASK("length 40:100", "length", 0, 0, struct xt_length_info, .min = 40, .max = 100);
	ASK("length !41", "length", 0, 0, struct xt_length_info, .min = 41, .max = 41, .invert = 1);
	ASK("mark 7/0xff", "mark", 1, 0, struct xt_mark_mtinfo1, .mark = 7, .mask = 0xff);
	ASK("mark !0", "mark", 1, 0, struct xt_mark_mtinfo1, .mark = 0, .mask = ~0, .invert = 1);
	ASK("tcp dport 80:443", "tcp", 0, IPPROTO_TCP, struct xt_tcp, .spts = { 0, 65535 }, .dpts = { 80, 443 });
	ASK("tcp syn", "tcp", 0, IPPROTO_TCP, struct xt_tcp, .spts = { 0, 65535 }, .dpts = { 0, 65535 },
	    .flg_mask = 0x17, .flg_cmp = 0x02);
	ASK("tcp !sport 80", "tcp", 0, IPPROTO_TCP, struct xt_tcp, .spts = { 80, 80 }, .dpts = { 0, 65535 },
	    .invflags = XT_TCP_INV_SRCPT);
	ASK("tcp option 2", "tcp", 0, IPPROTO_TCP, struct xt_tcp, .spts = { 0, 65535 }, .dpts = { 0, 65535 }, .option = 2);
	ASK("tcp wrong flags", "tcp", 0, IPPROTO_TCP, struct xt_tcp, .invflags = 0xff);
	ASK("tcp for udp", "tcp", 0, IPPROTO_UDP, struct xt_tcp, .invflags = 0);
	ASK("udp dport 53", "udp", 0, IPPROTO_UDP, struct xt_udp, .spts = { 0, 65535 }, .dpts = { 53, 53 });
	ASK("udp too large", "udp", 0, IPPROTO_UDP, struct xt_tcp, .invflags = 0);
	ASK("multiport 53,80", "multiport", 1, IPPROTO_TCP, struct xt_multiport_v1, .flags = XT_MULTIPORT_EITHER, .count = 2,
	    .ports = { 53, 80 });
	ASK("multiport 400:500", "multiport", 1, IPPROTO_TCP, struct xt_multiport_v1, .flags = XT_MULTIPORT_DESTINATION,
	    .count = 2, .ports = { 400, 500 }, .pflags = { 1, 0 });
	ASK("multiport of icmp", "multiport", 1, IPPROTO_ICMP, struct xt_multiport_v1, .count = 1);
	ASK("ttl < 65", "ttl", 0, 0, struct ipt_ttl_info, .mode = IPT_TTL_LT, .ttl = 65);
	ASK("ttl != 64", "ttl", 0, 0, struct ipt_ttl_info, .mode = IPT_TTL_NE, .ttl = 64);
	ASK("dscp ef", "dscp", 0, 0, struct xt_dscp_info, .dscp = 0x2e);
	ASK("dscp 64", "dscp", 0, 0, struct xt_dscp_info, .dscp = 64);
	ASK("tos 0x28/0x3f", "tos", 1, 0, struct xt_tos_match_info, .tos_mask = 0x3f, .tos_value = 0x28);
	ASK("every third", "statistic", 0, 0, struct xt_statistic_info, .mode = XT_STATISTIC_MODE_NTH, .u.nth.every = 2);
	ASK("unknown mode", "statistic", 0, 0, struct xt_statistic_info, .mode = 9);
	ASK("unknown match", "nosuchmatch", 0, 0, struct xt_length_info, .min = 0);
	ASK("unknown revision", "length", 9, 0, struct xt_length_info, .min = 0);
}

static struct net_device *device;
static struct netdev_queue *queue;

/* The scheduler of this name. */
static struct Qdisc_ops *find(const char *name)
{
	struct Qdisc_ops *ops;

	for (ops = &pfifo_qdisc_ops; ops; ops = ops->next)
		if (!strcmp(ops->id, name))
			return ops;
	return NULL;
}

/* A scheduler's own table with another init, which gives it its options. */
static struct Qdisc_ops with_options;
static int (*own_init)(struct Qdisc *, struct nlattr *, struct netlink_ext_ack *);
static struct {
	struct nlattr head;
	struct tc_prio_qopt prio;
} options = {
	.head = { .nla_len = NLA_HDRLEN + sizeof(struct tc_prio_qopt), .nla_type = TCA_OPTIONS },
	.prio = { .bands = 3, .priomap = { 1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1 } },
};

static int init_with_options(struct Qdisc *sch, struct nlattr *unused, struct netlink_ext_ack *extack)
{
	sch->handle = 0x10000;
	queue->qdisc = queue->qdisc_sleeping = sch;
	return own_init(sch, &options.head, extack);
}

static struct sk_buff *numbered(unsigned int number, unsigned int priority, unsigned int payload)
{
	struct recipe recipe = { IPPROTO_UDP, 0, 64, 1000, 2000, payload, number, 0 };
	struct sk_buff *skb = make(&recipe);

	if (skb) {
		skb->priority = priority;
		skb->dev = device;
		qdisc_skb_cb(skb)->pkt_len = skb->len;
	}
	return skb;
}

/* Queues packets of these priorities and takes them out again. */
static void schedule_all(const char *name, bool options_too, unsigned int count)
{
	struct Qdisc_ops *ops = find(name);
	struct sk_buff *skb, *dropped;
	struct Qdisc *sch;
	unsigned int i;

	if (!ops) {
		say("%s: not there\n", name);
		return;
	}
	if (options_too) {
		with_options = *ops;
		own_init = ops->init;
		with_options.init = init_with_options;
		ops = &with_options;
	}
	sch = qdisc_create_dflt(queue, ops, TC_H_ROOT, NULL);
	if (!sch) {
		say("%s: cannot be made\n", name);
		return;
	}
	queue->qdisc = queue->qdisc_sleeping = sch;
	say("%s: in", name);
	for (i = 0; i < count; i++) {
		skb = numbered(i, i % 7, (i % 5) * 100);
		if (!skb)
			break;
		dropped = NULL;
		say(" %d", sch->enqueue(skb, sch, &dropped));
		for (; dropped; dropped = skb) {
			skb = dropped->next;
			say("(%u)", dropped->mark);
			dropped->next = NULL;
			kfree_skb(dropped);
		}
	}
	say("\n%s: %u packets, %u bytes, %u dropped\n", name, sch->q.qlen, sch->qstats.backlog, sch->qstats.drops);
	if (sch->ops->peek) {
		skb = sch->ops->peek(sch);
		say("%s: first %d\n", name, skb ? (int)skb->mark : -1);
	}
	say("%s: out", name);
	for (i = 0; i < count / 2 && (skb = sch->dequeue(sch)); i++) {
		say(" %u", skb->mark);
		kfree_skb(skb);
	}
	say("\n%s: %u left, %llu packets of %llu bytes gone\n", name, sch->q.qlen,
	    (u64)u64_stats_read(&sch->bstats.packets), (u64)u64_stats_read(&sch->bstats.bytes));
	qdisc_reset(sch);
	say("%s: %u left, %u bytes\n", name, sch->q.qlen, sch->qstats.backlog);
	queue->qdisc = queue->qdisc_sleeping = NULL;
	qdisc_put(sch);
}

static int __init packets_start(void)
{
	static const struct net_device_ops no_operations;
	int error = -ENOMEM;

	said = kzalloc(ROOM, GFP_KERNEL);
	device = kzalloc(sizeof(*device), GFP_KERNEL);
	queue = kzalloc(sizeof(*queue), GFP_KERNEL);
	if (!said || !device || !queue)
		goto out;
	device->pcpu_refcnt = alloc_percpu(int);
	if (!device->pcpu_refcnt)
		goto out;
	dev_net_set(device, &init_net);
	strscpy(device->name, "ferrmod0", sizeof(device->name));
	device->netdev_ops = &no_operations;
	device->tx_queue_len = 10;
	device->mtu = 1500;
	device->num_tx_queues = device->real_num_tx_queues = 1;
	device->_tx = queue;
	queue->dev = device;
	hash_init(device->qdisc_hash);

	matches();
	rtnl_lock();
	schedule_all("skbprio", false, 80);
	schedule_all("prio", true, 60);
	schedule_all("codel", false, 20);
	schedule_all("nosuch", false, 1);
	rtnl_unlock();
	rcu_barrier();

	error = proc_create_single("ferrmod_packets", 0444, NULL, show) ? 0 : -ENOMEM;
out:
	if (device)
		free_percpu(device->pcpu_refcnt);
	kfree(device);
	kfree(queue);
	if (error)
		kfree(said);
	return error;
}

static void __exit packets_stop(void)
{
	remove_proc_entry("ferrmod_packets", NULL);
	kfree(said);
}

module_init(packets_start);
module_exit(packets_stop);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("packets through matches and schedulers of other modules");
