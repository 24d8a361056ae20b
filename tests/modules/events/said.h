/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ferrmod_said

#if !defined(FERRMOD_SAID_H) || defined(TRACE_HEADER_MULTI_READ)
#define FERRMOD_SAID_H

#include <linux/tracepoint.h>

#ifndef FERRMOD_MOODS
#define FERRMOD_MOODS
enum ferrmod_mood { MOOD_CALM, MOOD_LOUD = 7, MOOD_ODD = -3 };
#endif

TRACE_DEFINE_ENUM(MOOD_CALM);
TRACE_DEFINE_ENUM(MOOD_LOUD);
TRACE_DEFINE_ENUM(MOOD_ODD);

/* Members of each kind, and each way to print them. */
TRACE_EVENT(ferrmod_mixed,
	TP_PROTO(const char *text, int number, const u8 *bytes),
	TP_ARGS(text, number, bytes),
	TP_STRUCT__entry(
		__field(u8, small)
		__field(s16, number)
		__field(u64, square)
		__field(bool, is_odd)
		__field(enum ferrmod_mood, mood)
		__array(char, head, 6)
		__array(u16, words, 3)
		__string(text, text)
		__dynamic_array(u8, bytes, number & 7)
		__bitmask(bits, 40)
	),
	TP_fast_assign(
		unsigned long bits[1] = { 0x80ff000001UL };
		int i;

		__entry->small = number;
		__entry->number = number;
		__entry->square = (u64)number * number;
		__entry->is_odd = number & 1;
		__entry->mood = number % 3 ? MOOD_LOUD : MOOD_CALM;
		strncpy(__entry->head, text, 5);
		__entry->head[5] = 0;
		for (i = 0; i < 3; i++)
			__entry->words[i] = number * (i + 1);
		__assign_str(text, text);
		memcpy(__get_dynamic_array(bytes), bytes, number & 7);
		__assign_bitmask(bits, bits, 40);
	),
	TP_printk("small=%u number=%d square=%llu %s mood=%s head=%-6s| words=%s text=%s flags=%s bytes=%s %s bits=%s",
		__entry->small, __entry->number, __entry->square, __entry->is_odd ? "odd" : "even",
		__print_symbolic(__entry->mood, { MOOD_CALM, "calm" }, { MOOD_ODD, "odd" }),
		__entry->head, __print_array(__entry->words, 3, 2), __get_str(text),
		__print_flags(__entry->small, "|", { 1, "one" }, { 2, "two" }, { 12, "twelve" }),
		__print_hex(__get_dynamic_array(bytes), __get_dynamic_array_len(bytes)),
		__print_hex_str(__get_dynamic_array(bytes), __get_dynamic_array_len(bytes)),
		__get_bitmask(bits))
);

/* Two events of one class. */
DECLARE_EVENT_CLASS(ferrmod_pair,
	TP_PROTO(unsigned long first, long second),
	TP_ARGS(first, second),
	TP_STRUCT__entry(
		__field(unsigned long, first)
		__field(long, second)
	),
	TP_fast_assign(
		__entry->first = first;
		__entry->second = second;
	),
	TP_printk("%lx -> %ld %d%%", __entry->first, __entry->second, (int)(__entry->second / 2))
);
DEFINE_EVENT(ferrmod_pair, ferrmod_left, TP_PROTO(unsigned long first, long second), TP_ARGS(first, second));
DEFINE_EVENT(ferrmod_pair, ferrmod_right, TP_PROTO(unsigned long first, long second), TP_ARGS(first, second));

/* Only for numbers that are not 0. */
TRACE_EVENT_CONDITION(ferrmod_some,
	TP_PROTO(int number),
	TP_ARGS(number),
	TP_CONDITION(number != 0),
	TP_STRUCT__entry(__field(int, number)),
	TP_fast_assign(__entry->number = number;),
	TP_printk("%d", __entry->number)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE said
#include <trace/define_trace.h>
