// The first process of a guest: does what /script says, one operation a line, and writes the answers to /dev/ttyS1 in the form that
// tests/live/guest.rs reads. Built with `gcc -static` when answers of Linux are recorded, and at no other time.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LARGE 256
#define MOST (4 << 20)

static unsigned char bytes[MOST];
static FILE *out;
static int files[256];

// FNV-1a
static uint64_t sum(uint64_t hash, const unsigned char *at, long length)
{
	for (long i = 0; i < length; i++)
		hash = (hash ^ at[i]) * 0x100000001b3ull;
	return hash;
}
#define BASIS 0xcbf29ce484222325ull

// What `find` has found, by the letter it is called.
static char *found[256];

// A text with names for what was found, or what was found for its names.
static char *with_names(const char *text, int name)
{
	char *made = 0;
	size_t length;
	FILE *to = open_memstream(&made, &length);
	while (*text) {
		int letter = 0, taken = 0;
		for (int i = 0; i < 256 && !taken; i++) {
			if (!found[i])
				continue;
			size_t size = strlen(found[i]);
			if (name && !strncmp(text, found[i], size) && !strchr("0123456789", text[size] ? text[size] : 'x'))
				letter = i, taken = size;
			else if (!name && text[0] == '$' && (unsigned char)text[1] == i)
				letter = i, taken = 2;
		}
		if (!taken)
			fputc(*text, to), taken = 1;
		else if (name)
			fprintf(to, "$%c", letter);
		else
			fputs(found[letter], to);
		text += taken;
	}
	fclose(to);
	return made;
}

static void say(const char *format, ...)
{
	va_list list;
	char *text;
	va_start(list, format);
	vasprintf(&text, format, list);
	va_end(list);
	fprintf(out, "OUT %s\n", with_names(text, 1));
}

static void number(long value)
{
	if (value < 0)
		say("!%d", errno);
	else
		say("%ld", value);
}

static void data(long value, const unsigned char *at, long length)
{
	if (value < 0) {
		say("!%d", errno);
		return;
	}
	if (length > LARGE) {
		say("%ld #%016llx", value, (unsigned long long)sum(BASIS, at, length));
		return;
	}
	fprintf(out, "OUT %ld ", value);
	for (long i = 0; i < length; i++)
		fprintf(out, "%02x", at[i]);
	fprintf(out, "\n");
}

static long hex(const char *text)
{
	long length = 0;
	for (long start = 0;; start = length, text++) {
		for (; text[0] && text[1] && !strchr("/+", text[0]); text += 2) {
			char pair[3] = { text[0], text[1], 0 };
			bytes[length++] = strtoul(pair, 0, 16);
		}
		if (*text == '/')
			for (long wanted = strtol(text + 1, (char **)&text, 0); length < start + wanted;)
				bytes[length++] = 0;
		if (*text != '+')
			return length;
	}
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}
static int no_dots(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
}

// The whole of a file, with a zero behind it.
static long content(const char *path)
{
	int from = open(path, O_RDONLY);
	long count = from < 0 ? -1 : 0, part;
	while (count >= 0 && (part = read(from, bytes + count, MOST - 1 - count)))
		count = part < 0 ? -1 : count + part;
	int error = errno;
	close(from);
	errno = error;
	bytes[count < 0 ? 0 : count] = 0;
	return count;
}

// The lines with a text in them.
static void lines(const char *with)
{
	for (char *text = (char *)bytes, *part; (part = strsep(&text, "\n"));)
		if (strstr(part, with))
			say("%s", part);
}

// The lines between empty ones around the first that has a text.
static void entry(const char *with)
{
	char *found = strstr((char *)bytes, with), *end;
	if (!found)
		return;
	while (found > (char *)bytes + 1 && (found[-1] != '\n' || found[-2] != '\n'))
		found--;
	if (found == (char *)bytes + 1)
		found--;
	if ((end = strstr(found, "\n\n")))
		end[0] = 0;
	for (char *part; (part = strsep(&found, "\n")) && (found || *part);)
		say("%s", part);
}

// Whether a word is there, between blanks or brackets.
static int has(const char *word)
{
	for (char *part = strtok((char *)bytes, " \t\n[]"); part; part = strtok(0, " \t\n[]"))
		if (!strcmp(part, word))
			return 1;
	return 0;
}

// The records of a trace without tasks and times: what was off, and what each event says.
static void records(void)
{
	for (char *text = (char *)bytes, *part; (part = strsep(&text, "\n"));) {
		char *signs = *part == '#' ? 0 : strstr(part, "] "), *rest = signs ? strstr(signs, ": ") : 0;
		// Pointers are hashed with a key of the boot.
		for (char *hash = rest; hash && (hash = strstr(hash, "=00000000")); hash++)
			if (strspn(hash + 1, "0123456789abcdef") == 16)
				memcpy(hash + 9, "********", 8);
		if (rest)
			say("%.5s %s", signs + 2, rest + 2);
	}
}

static void run(char *line)
{
	char *parameters = strchr(line, ' ');
	parameters = parameters ? strchr(parameters + 1, ' ') : 0;
	parameters = strdup(parameters ? parameters + 1 : "");
	char *rest = line, *word[8] = { "", "", "", "", "", "", "", "" };
	for (int i = 0; i < 8 && rest; i++)
		word[i] = strsep(&rest, " ");
	int *file = &files[(unsigned char)word[1][0]];
	char *what = word[0], *a = word[1], *b = word[2], *c = word[3], path[512];
	struct stat status;
	if (!strcmp(what, "load")) {
		snprintf(path, sizeof path, "/m/%s.ko", a);
		int module = open(path, O_RDONLY);
		number(syscall(SYS_finit_module, module, parameters, 0));
		close(module);
	} else if (!strcmp(what, "unload")) {
		number(syscall(SYS_delete_module, a, O_NONBLOCK));
	} else if (!strcmp(what, "open")) {
		*file = open(b, strtol(c, 0, 0), 0600);
		number(*file < 0 ? -1 : 0);
	} else if (!strcmp(what, "read")) {
		long count = read(*file, bytes, strtol(b, 0, 0));
		data(count, bytes, count);
	} else if (!strcmp(what, "write")) {
		long length = hex(b);
		number(write(*file, bytes, length));
	} else if (!strcmp(what, "fill")) {
		long length = strtol(b, 0, 0), seed = strtol(c, 0, 0);
		for (long i = 0; i < length; i++)
			bytes[i] = (i * 31 + i / 251 + seed) & 0xff;
		number(write(*file, bytes, length));
	} else if (!strcmp(what, "seek")) {
		number(lseek(*file, strtol(b, 0, 0), strtol(c, 0, 0)));
	} else if (!strcmp(what, "ioctl")) {
		unsigned long command = strtoul(b, 0, 0);
		if (c[0] == '@') {
			long length = hex(c + 1);
			long value = ioctl(*file, command, bytes);
			data(value, bytes, length);
		} else {
			number(ioctl(*file, command, strtoul(c, 0, 0)));
		}
	} else if (!strcmp(what, "ioctl-file")) {
		number(ioctl(*file, strtoul(b, 0, 0), files[(unsigned char)c[0]]));
	} else if (!strcmp(what, "poll")) {
		struct pollfd one = { *file, strtol(b, 0, 0), 0 };
		if (poll(&one, 1, strtol(c, 0, 0)) < 0)
			say("!%d", errno);
		else
			say("0x%x", one.revents);
	} else if (!strcmp(what, "close")) {
		number(close(*file));
	} else if (!strcmp(what, "copy")) {
		snprintf(path, sizeof path, "/f/%s", a);
		int from = open(path, O_RDONLY), to = open(b, O_WRONLY);
		long count = read(from, bytes, MOST);
		number(write(to, bytes, count));
		close(from);
		close(to);
	} else if (!strcmp(what, "mount")) {
		mkdir(c, 0755);
		number(mount(b, c, a, MS_RDONLY, 0));
	} else if (!strcmp(what, "umount")) {
		number(umount(a));
	} else if (!strcmp(what, "list")) {
		struct dirent **names;
		int count = scandir(a, &names, no_dots, by_name);
		if (count < 0) {
			say("!%d", errno);
			return;
		}
		fprintf(out, "OUT ");
		for (int i = 0; i < count; i++)
			fprintf(out, "%s%s", i ? " " : "", names[i]->d_name);
		fprintf(out, "\n");
	} else if (!strcmp(what, "sum")) {
		int from = open(a, O_RDONLY);
		if (from < 0) {
			say("!%d", errno);
			return;
		}
		uint64_t hash = BASIS;
		long size = 0, count;
		while ((count = read(from, bytes, 5000)) > 0) {
			hash = sum(hash, bytes, count);
			size += count;
		}
		if (count < 0)
			say("!%d", errno);
		else
			say("%ld #%016llx", size, (unsigned long long)hash);
		close(from);
	} else if (!strcmp(what, "text")) {
		int from = open(a, O_RDONLY);
		long count = from < 0 ? -1 : read(from, bytes, MOST - 1);
		if (count < 0) {
			say("!%d", errno);
			return;
		}
		bytes[count] = 0;
		for (char *text = (char *)bytes, *part; (part = strsep(&text, "\n")) && (text || *part);)
			say("%s", part);
		close(from);
	} else if (!strcmp(what, "echo")) {
		for (char *space = a; (space = strchr(space, '~'));)
			*space = ' ';
		int to = open(b, O_WRONLY);
		number(to < 0 ? -1 : write(to, a, strlen(a)));
		close(to);
	} else if (!strcmp(what, "lines") || !strcmp(what, "entry") || !strcmp(what, "has")) {
		long count = content(a);
		if (count < 0)
			say("!%d", errno);
		else if (*what == 'l')
			lines(parameters);
		else if (*what == 'e')
			entry(parameters);
		else
			say("%d", has(parameters));
	} else if (!strcmp(what, "there")) {
		number(lstat(a, &status));
	} else if (!strcmp(what, "registered")) {
		// Linux has no such list: what is expected.
		say("%s", c);
	} else if (!strcmp(what, "find")) {
		// The entry of a directory with a prefix, whose `name` or `device/name` says this.
		struct dirent **names;
		int count = scandir(b, &names, no_dots, by_name);
		for (char *space = word[4]; (space = strchr(space, '~'));)
			*space = ' ';
		for (int i = 0; i < count; i++) {
			const char *places[] = { "name", "device/name" };
			for (int place = 0; place < 2; place++) {
				snprintf(path, sizeof path, "%s/%s/%s", b, names[i]->d_name, places[place]);
				if (strncmp(names[i]->d_name, c, strlen(c)) || content(path) < 0)
					continue;
				bytes[strcspn((char *)bytes, "\n")] = 0;
				if (!strcmp((char *)bytes, word[4])) {
					found[(unsigned char)*a] = strdup(names[i]->d_name);
					say("0");
					return;
				}
			}
		}
		say("!%d", ENOENT);
	} else if (!strcmp(what, "events")) {
		// What a file of /dev/input says, without the times.
		long count = read(*file, bytes, 24 * strtol(b, 0, 0));
		if (count < 0)
			say("!%d", errno);
		for (long i = 0; i + 24 <= count; i += 24)
			say("%d %d %d", *(unsigned short *)(bytes + i + 16), *(unsigned short *)(bytes + i + 18), *(int *)(bytes + i + 20));
	} else if (!strcmp(what, "records")) {
		// The same of records of this size, from this byte of each on.
		long size = strtol(c, 0, 0), from = strtol(word[4], 0, 0), count = read(*file, bytes, size * strtol(b, 0, 0));
		if (count < 0)
			say("!%d", errno);
		for (long i = 0; i + size <= count; i += size)
			data(size - from, bytes + i + from, size - from);
	} else if (!strcmp(what, "traced")) {
		if (content(a) < 0)
			say("!%d", errno);
		else
			records();
	} else if (!strcmp(what, "piped")) {
		long count = read(*file, bytes, 1 << 16);
		if (count < 0)
			say("!%d", errno);
		bytes[count < 0 ? 0 : count] = 0;
		records();
	} else if (!strcmp(what, "wait") || !strcmp(what, "settle")) {
		usleep(1000 * strtol(a, 0, 0));
		say("0");
	} else if (!strcmp(what, "section")) {
		say("%s", a);
	} else if (!strcmp(what, "mode")) {
		if (lstat(a, &status))
			say("!%d", errno);
		else
			say("%o", status.st_mode);
	} else {
		say("unknown operation");
	}
	free(parameters);
}

int main(void)
{
	static char line[1 << 16];
	int count = 0;
	mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755), mkdir("/tmp", 0755);
	mount("proc", "/proc", "proc", 0, 0);
	mount("sysfs", "/sys", "sysfs", 0, 0);
	mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, 0);
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, 0);
	out = fopen("/dev/ttyS1", "w");
	FILE *script = fopen("/script", "r");
	while (script && fgets(line, sizeof line, script)) {
		line[strcspn(line, "\n")] = 0;
		fprintf(out, "RUN %d %s\n", ++count, line);
		run(with_names(line, 0));
		fprintf(out, "END 0\n");
		fflush(out);
	}
	fprintf(out, "DONE\n");
	fclose(out);
	sync();
	sleep(1);
	reboot(RB_AUTOBOOT);
	return 0;
}
