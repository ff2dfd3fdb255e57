/* The load client: many readers over one wire, one epoll, no threads. It counts what each reader got and how late.
 *
 *     load HOST PORT PATH ws|sse|poll|wait [--hello] [--socketio] [--header 'Name: value']... [--read BYTES]
 *     load --histogram < delays.txt          the percentiles of numbers, one a line: for the test of the histogram
 *
 * It is told what to do by lines on standard input, and answers each with one line of JSON on standard output:
 *
 *     add N AT_ONCE         open N more connections, AT_ONCE of them at the same time; answers when all are open
 *     round SIZE            forget what was counted; events whose data has SIZE bytes will come, numbered from 0
 *     expect K PATIENCE_MS  answers when each reader got K events, or nothing more came for PATIENCE_MS
 *     poll SECONDS          ask on every connection, again and again, for so long
 *     quit
 *
 * Open means: upgraded or the head of the answer came; with --hello, the first message behind it; with `poll`, connected;
 * with `wait`, asked. --read takes no more than so many bytes at a time, so that reads cut events anywhere.
 *
 * An event is found by `"n":` and `"t":` in its data, {"n":17,"t":123456789,"pad":"..."}: its number, and the nanoseconds
 * of CLOCK_MONOTONIC at which it was due. What stands around them is not looked at. As `"n":` is followed by the rest of
 * SIZE bytes, the next cannot stand closer than SIZE bytes: most of what comes is skipped, and nothing is missed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TAIL = 64, HEAD_MAX = 8192, ROOM = 1 << 19, TURN = 512 };

/* ---- a histogram: 64 buckets an octave, each less than 1.6 % wide ---- */

enum { BUCKETS = 64 * 59 };
static uint64_t buckets[BUCKETS], slowest;

static inline int bucket_of(uint64_t value) {
    if (value < 64) return (int)value;
    int shift = 57 - __builtin_clzll(value);
    return (shift + 1) * 64 + (int)((value >> shift) - 64);
}

static uint64_t highest_in(int bucket) {
    if (bucket < 64) return (uint64_t)bucket;
    int shift = bucket / 64 - 1;
    return (((uint64_t)(bucket % 64) + 65) << shift) - 1;
}

static inline void record(uint64_t value) {
    buckets[bucket_of(value)]++;
    if (value > slowest) slowest = value;
}

static void forget_delays(void) {
    memset(buckets, 0, sizeof buckets);
    slowest = 0;
}

/* The delay that `share` of all events did not exceed: the upper edge of its bucket, but never more than the slowest. */
static uint64_t percentile(double share) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++) total += buckets[i];
    uint64_t wanted = (uint64_t)(share * (double)total + 0.999999);
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += buckets[i]) >= wanted && seen) return highest_in(i) < slowest ? highest_in(i) : slowest;
    return slowest;
}

static void print_delays(void) {
    printf("\"p50\":%llu,\"p90\":%llu,\"p99\":%llu,\"p999\":%llu,\"slowest\":%llu", (unsigned long long)percentile(0.5),
           (unsigned long long)percentile(0.9), (unsigned long long)percentile(0.99),
           (unsigned long long)percentile(0.999), (unsigned long long)slowest);
}

/* ---- a reader, and what all of them share ---- */

typedef struct {
    uint64_t from, to; /* events that have not come: from <= n < to */
} Hole;

typedef struct {
    int fd;
    enum { CONNECTING, HEAD, BODY, GONE } phase;
    char open, chunked, opcode, begun, trailer;
    char *held; /* the part of a head that has come */
    int held_length;
    uint8_t start[14]; /* the part of a frame's head, or of a chunk's size line, that has come */
    int start_length;
    uint64_t left; /* bytes of this frame, chunk or body that are still to come */
    char control[128]; /* the payload of a ping */
    int control_length;
    char tail[TAIL]; /* the beginning of an event that a read has cut */
    int tail_length;
    uint64_t skip;         /* bytes of an event that has been counted, and that are still to come */
    uint64_t lead, stride; /* where events stood: behind the start of a frame, and behind each other */
    uint64_t next, asked;
    Hole *holes;
    int hole_count, hole_room;
} Reader;

typedef enum { WS, SSE, POLL, WAIT } Wire;

static Wire wire;
static int hello, socketio, epoll_fd;
static size_t at_a_time = ROOM - 1; /* bytes that a read takes */
static char request[HEAD_MAX];
static struct sockaddr_in server;
static Reader **readers;
static int reader_count, open_count, gone_count, pending; /* `pending` are neither open nor gone yet */
static char buffer[ROOM];

static uint64_t size = 100, now; /* of an event's data, in bytes; the time of the last read */
static uint64_t delivered, disorder, doubled, frames, reads, bytes, polls, refused, first_at, last_at;
static int polling;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void leave(Reader *r) {
    if (r->phase == GONE) return;
    r->phase = GONE;
    close(r->fd);
    gone_count++;
    if (r->open) open_count--;
    else pending--;
}

static void say(Reader *r, const char *text, size_t length) {
    if (send(r->fd, text, length, MSG_NOSIGNAL) != (ssize_t)length) leave(r); /* a few bytes always fit, if it lives */
}

static void opened(Reader *r) {
    if (r->open) return;
    r->open = 1;
    open_count++;
    pending--;
}

/* ---- counting: exactly once, in order ---- */

static void note_hole(Reader *r, uint64_t from, uint64_t to) {
    if (r->hole_count == r->hole_room) {
        r->hole_room = r->hole_room ? 2 * r->hole_room : 4;
        r->holes = realloc(r->holes, (size_t)r->hole_room * sizeof(Hole));
    }
    r->holes[r->hole_count++] = (Hole){from, to};
}

/* Event n came behind a later one: it fills a hole, or it came before. */
static void came_late(Reader *r, uint64_t n) {
    for (int i = 0; i < r->hole_count; i++) {
        Hole hole = r->holes[i];
        if (n < hole.from || n >= hole.to) continue;
        r->holes[i] = (Hole){hole.from, n};
        if (n + 1 < hole.to) note_hole(r, n + 1, hole.to);
        disorder++;
        delivered++;
        return;
    }
    doubled++;
}

static inline void count(Reader *r, uint64_t n, uint64_t due) {
    if (wire >= POLL) { /* every poll is answered with the same event, and timed by itself */
        delivered++;
        return;
    }
    record(now > due ? now - due : 0);
    if (n >= r->next) {
        if (n > r->next) note_hole(r, r->next, n);
        r->next = n + 1;
        delivered++;
    } else {
        came_late(r, n);
    }
}

static uint64_t missing(const Reader *r, uint64_t expected) {
    uint64_t lost = expected > r->next ? expected - r->next : 0;
    for (int i = 0; i < r->hole_count; i++) lost += r->holes[i].to - r->holes[i].from;
    return lost;
}

/* ---- finding events ---- */

static inline uint64_t load64(const char *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

static inline int marked(const char *p) { return !memcmp(p, "\"n\":", 4); }

static const char *find_mark(const char *p, const char *end) {
    for (; end - p >= 4; p++)
        if (marked(p)) return p;
    return NULL;
}

static inline int eight_digits(uint64_t word) {
    return !(((word + 0x4646464646464646u) | (word - 0x3030303030303030u)) & 0x8080808080808080u);
}

/* Neighbours are joined, three times: digits to pairs, pairs to fours, fours to all eight. The first digit is the lowest byte. */
static inline uint64_t value_of_eight(uint64_t word) {
    word = ((word & 0x0F0F0F0F0F0F0F0Fu) * (10 * 256 + 1)) >> 8 & 0x00FF00FF00FF00FFu;
    word = (word * (100 * 65536 + 1)) >> 16 & 0x0000FFFF0000FFFFu;
    return (word * ((10000ull << 32) + 1)) >> 32;
}

/* The number at p; gives the place behind it, or NULL if it may go on behind `end`. */
static inline const char *number(const char *p, const char *end, uint64_t *value) {
    uint64_t sum = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (uint64_t word; end - p >= 8 && eight_digits(word = load64(p)); p += 8) sum = sum * 100000000u + value_of_eight(word);
#endif
    for (; p < end && *p >= '0' && *p <= '9'; p++) sum = sum * 10 + (uint64_t)(*p - '0');
    *value = sum;
    return p < end ? p : NULL;
}

/* The event whose mark is at p: gives the place behind its time, or NULL if it is cut by `end`. */
static inline const char *event(const char *p, const char *end, uint64_t *n, uint64_t *due) {
    if (end - p > 4 && p[4] == ' ') p++; /* some encoders put a blank behind a colon or a comma */
    if (!(p = number(p + 4, end, n))) return NULL;
    while (p < end && (*p == ',' || *p == ' ')) p++;
    if (end - p < 5) return NULL;
    return number(p + 4 + (p[4] == ' '), end, due);
}

static void keep_tail(Reader *r, const char *p, const char *end) {
    if (end - p > TAIL) p = end - TAIL; /* never: an event's numbers are shorter */
    memmove(r->tail, p, (size_t)(end - p));
    r->tail_length = (int)(end - p);
}

/* Finish the event that the last read has cut; gives where to go on in what has come now. */
static const char *finish(Reader *r, const char *p, const char *end) {
    char joined[2 * TAIL];
    size_t old = (size_t)r->tail_length, more = end - p < TAIL ? (size_t)(end - p) : TAIL;
    memcpy(joined, r->tail, old);
    memcpy(joined + old, p, more);
    const char *limit = joined + old + more, *mark = find_mark(joined, limit), *behind = NULL;
    uint64_t n, due;
    r->tail_length = 0;
    if (mark && mark < joined + old) {
        if ((behind = event(mark, limit, &n, &due))) {
            count(r, n, due);
            r->skip = size - 1 > (uint64_t)(behind - mark) ? size - 1 - (uint64_t)(behind - mark) : 0;
            return p + (behind - joined - (ptrdiff_t)old);
        }
        keep_tail(r, mark, limit);
        return end;
    }
    if (mark || more == TAIL) return p;
    keep_tail(r, limit - joined > 3 ? limit - 3 : joined, limit); /* it may be the beginning of a mark */
    return end;
}

static inline const char *skip(Reader *r, const char *p, const char *end) {
    uint64_t here = (uint64_t)(end - p) < r->skip ? (uint64_t)(end - p) : r->skip;
    r->skip -= here;
    return p + here;
}

/* Count the events in a piece of payload. */
static void scan(Reader *r, const char *p, const char *end) {
    const char *last = NULL;
    uint64_t n, due;
    if (r->tail_length) p = finish(r, p, end);
    if (r->skip) p = skip(r, p, end);
    for (uint64_t guess = r->lead; p < end;) {
        const char *base = last ? last : p, *mark;
        int sure = guess && guess < (last ? 2 : 1) * size && (uint64_t)(end - base) >= guess + 4 && marked(base + guess);
        mark = sure ? base + guess : find_mark(p, end);
        if (!mark) break;
        const char *behind = event(mark, end, &n, &due);
        if (!behind) {
            keep_tail(r, mark, end);
            return;
        }
        count(r, n, due);
        if (last) r->stride = (uint64_t)(mark - last);
        else r->lead = (uint64_t)(mark - p);
        guess = r->stride;
        last = mark;
        r->skip = size - 1 > (uint64_t)(behind - mark) ? size - 1 - (uint64_t)(behind - mark) : 0;
        p = skip(r, behind, end);
    }
    if (p < end) keep_tail(r, end - p > 3 ? end - 3 : p, end);
}

/* ---- framings: each takes what came, and scans the payload in it ---- */

static void pong(Reader *r) {
    char frame[6 + 128] = {(char)0x8A, (char)(0x80 | r->control_length)}; /* masked with zeros, RFC 6455 section 5.3 */
    memcpy(frame + 6, r->control, (size_t)r->control_length);
    say(r, frame, 6 + (size_t)r->control_length);
}

static void say_text(Reader *r, const char *text) {
    char frame[16] = {(char)0x81, (char)(0x80 | strlen(text))};
    memcpy(frame + 6, text, strlen(text));
    say(r, frame, 6 + strlen(text));
}

/* Engine.IO 4 and Socket.IO 5: `0` opens, to be answered by `40`; `2` is a ping, `3` its answer. */
static void converse(Reader *r, char kind) {
    if (kind == '0') say_text(r, "40");
    else if (kind == '2') say_text(r, "3");
    else if (kind == '4') opened(r);
}

static void payload(Reader *r, const char *p, const char *end) {
    if (r->opcode < 8) {
        if (socketio && r->begun == 0) converse(r, *p);
        r->begun = 1;
        scan(r, p, end);
    } else if (r->control_length + (end - p) <= 125) {
        memcpy(r->control + r->control_length, p, (size_t)(end - p));
        r->control_length += (int)(end - p);
    }
}

static void frame_end(Reader *r) {
    if (r->opcode == 8) leave(r);
    else if (r->opcode == 9) pong(r);
    else if (r->opcode < 8) {
        frames++;
        if (!socketio) opened(r);
    }
}

/* The head of a frame, RFC 6455 section 5.2; gives where its payload begins, or NULL if it has not all come. */
static const char *frame_start(Reader *r, const char *p, const char *end) {
    for (; p < end; p++) {
        int length = r->start_length > 1 ? r->start[1] & 127 : -1, wanted = length == 127 ? 10 : length == 126 ? 4 : 2;
        if (r->start_length == wanted) break;
        r->start[r->start_length++] = (uint8_t)*p;
    }
    int length = r->start_length > 1 ? r->start[1] & 127 : -1, wanted = length == 127 ? 10 : length == 126 ? 4 : 2;
    if (r->start_length < wanted) return NULL;
    r->left = wanted == 2 ? (uint64_t)length : 0;
    for (int i = 2; i < wanted; i++) r->left = r->left << 8 | r->start[i];
    r->opcode = r->start[0] & 15;
    r->start_length = r->control_length = 0;
    r->begun = 0;
    return p;
}

static void read_frames(Reader *r, const char *p, const char *end) {
    while (p && r->phase == BODY) {
        if (!r->left) {
            if (!(p = frame_start(r, p, end))) return;
            if (!r->left) frame_end(r);
            if (!r->left) continue;
        }
        uint64_t here = (uint64_t)(end - p) < r->left ? (uint64_t)(end - p) : r->left;
        if (!here) return;
        payload(r, p, p + here);
        p += here;
        if (!(r->left -= here)) frame_end(r);
    }
}

/* The size line of a chunk, RFC 9112 section 7.1, with the line end of the chunk before it. */
static const char *chunk_start(Reader *r, const char *p, const char *end) {
    while (p < end) {
        char c = *p++;
        if (c != '\n') {
            if (c != '\r' && r->start_length < 13) r->start[r->start_length++] = (uint8_t)c;
            continue;
        }
        if (!r->start_length && !r->trailer) continue; /* the end of the chunk before */
        r->start[r->start_length] = 0;
        r->left = strtoull((char *)r->start, NULL, 16);
        r->start_length = 0;
        return p;
    }
    return NULL;
}

static void answered(Reader *r);

static void read_chunks(Reader *r, const char *p, const char *end) {
    while (p && p < end && r->phase == BODY) {
        if (!r->left) {
            if (!(p = chunk_start(r, p, end))) return;
            if (!r->left && !r->trailer) {
                r->trailer = 1; /* the last chunk; an empty line follows */
                continue;
            }
            if (!r->left) {
                r->trailer = 0;
                if (wire == SSE) leave(r); /* a stream has ended */
                else answered(r);
                return;
            }
        }
        uint64_t here = (uint64_t)(end - p) < r->left ? (uint64_t)(end - p) : r->left;
        scan(r, p, p + here);
        p += here;
        if (!(r->left -= here)) {
            frames++;
            if (wire == SSE) opened(r);
        }
    }
}

static void read_plain(Reader *r, const char *p, const char *end) {
    scan(r, p, end);
    if (wire == SSE) { /* up to the end of the connection */
        frames++;
        opened(r);
    } else if ((r->left -= (uint64_t)(end - p)) == 0) {
        frames++;
        answered(r);
    }
}

static void read_body(Reader *r, const char *p, const char *end) {
    if (wire == WS) read_frames(r, p, end);
    else if (r->chunked) read_chunks(r, p, end);
    else if (p < end || (wire >= POLL && !r->left)) read_plain(r, p, end);
}

/* ---- HTTP ---- */

static void ask(Reader *r) {
    r->asked = clock_ns(CLOCK_MONOTONIC);
    r->phase = HEAD;
    say(r, request, strlen(request));
}

static void answered(Reader *r) {
    polls++;
    record(now - r->asked);
    r->asked = 0;
    r->tail_length = 0;
    r->skip = 0;
    r->phase = HEAD;
    if (polling) ask(r);
}

static const char *field(const char *head, const char *name) {
    const char *found = strcasestr(head, name);
    return found ? found + strlen(name) : NULL;
}

/* Read the head, which ends at `body`. */
static void head_came(Reader *r, char *head, char *body) {
    char kept = *body;
    *body = 0;
    const char *length = field(head, "\r\ncontent-length:");
    int status = atoi(head + 9);
    r->chunked = field(head, "\r\ntransfer-encoding: chunked") != NULL;
    r->left = length && !r->chunked ? strtoull(length, NULL, 10) : 0;
    *body = kept;
    r->phase = BODY;
    r->start_length = 0;
    if (status != (wire == WS ? 101 : 200)) {
        refused++;
        leave(r);
    } else if (!hello && !socketio && wire < POLL) {
        opened(r);
    }
}

/* What came while a head is awaited, up to `end`, behind which there is room for one byte; gives where the body begins. */
static char *read_head(Reader *r, char *p, char *end) {
    char *head = p;
    if (r->held_length) {
        if (r->held_length + (end - p) >= HEAD_MAX) return leave(r), NULL;
        memcpy(r->held + r->held_length, p, (size_t)(end - p));
        head = r->held;
        end = head + r->held_length + (end - p);
    }
    char *body = memmem(head, (size_t)(end - head), "\r\n\r\n", 4);
    if (!body) {
        if (end - head >= HEAD_MAX) return leave(r), NULL;
        if (!r->held) r->held = malloc(HEAD_MAX);
        memmove(r->held, head, (size_t)(end - head));
        r->held_length = (int)(end - head);
        return NULL;
    }
    body += 4;
    head_came(r, head, body);
    if (head == r->held) { /* go on in the buffer that has just been read */
        body = p + (body - r->held) - r->held_length;
        free(r->held);
        r->held = NULL;
        r->held_length = 0;
    }
    return body;
}

/* ---- connections ---- */

static void join(Reader *r) {
    int yes = 1;
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->fd < 0) {
        perror("load: socket");
        exit(1);
    }
    setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(r->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) {
        perror("load: connect");
        exit(1);
    }
    struct epoll_event wanted = {.events = EPOLLOUT, .data.ptr = r};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, r->fd, &wanted);
}

static void connected(Reader *r) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        leave(r);
        return;
    }
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = r};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, r->fd, &wanted);
    r->phase = HEAD;
    if (wire != POLL) ask(r);
    if (wire >= POLL) opened(r);
}

static void readable(Reader *r) {
    ssize_t got = recv(r->fd, buffer, at_a_time, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) leave(r);
        return;
    }
    now = clock_ns(CLOCK_MONOTONIC);
    if (!first_at) first_at = now;
    last_at = now;
    reads++;
    bytes += (uint64_t)got;
    char *p = buffer, *end = buffer + got;
    if (r->phase == HEAD && !(p = read_head(r, p, end))) return;
    if (r->phase == BODY) read_body(r, p, end);
}

/* One turn of the loop, of at most `wait` milliseconds. Gives whether a command is waiting. */
static int turn(int wait) {
    struct epoll_event ready[TURN];
    int told = 0, number = epoll_wait(epoll_fd, ready, TURN, wait);
    for (int i = 0; i < number; i++) {
        Reader *r = ready[i].data.ptr;
        if (!r) told = 1;
        else if (r->phase == CONNECTING) connected(r);
        else if (r->phase != GONE) readable(r);
    }
    return told;
}

/* ---- commands ---- */

static void add(int number, int at_once) {
    uint64_t began = clock_ns(CLOCK_MONOTONIC), heard = began;
    int wanted = reader_count + number, gone_before = gone_count;
    readers = realloc(readers, (size_t)wanted * sizeof *readers);
    while (reader_count < wanted || pending) {
        for (; reader_count < wanted && pending < at_once; pending++) join(readers[reader_count++] = calloc(1, sizeof(Reader)));
        int before = pending;
        turn(100);
        uint64_t at = clock_ns(CLOCK_MONOTONIC);
        if (pending < before) heard = at;
        if (at - heard > 20000000000u) break; /* nobody opens any more */
    }
    printf("{\"open\":%d,\"failed\":%d,\"seconds\":%.6f}\n", open_count, gone_count - gone_before + pending,
           (double)(clock_ns(CLOCK_MONOTONIC) - began) / 1e9);
}

static uint64_t cpu_began;

static void begin_round(uint64_t data_size) {
    size = data_size;
    delivered = disorder = doubled = frames = reads = bytes = polls = first_at = last_at = 0;
    forget_delays();
    for (int i = 0; i < reader_count; i++) {
        readers[i]->next = 0;
        readers[i]->hole_count = readers[i]->tail_length = 0;
        readers[i]->skip = 0;
        readers[i]->lead = readers[i]->stride = 0;
    }
    cpu_began = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void print_round(uint64_t lost) {
    printf("{\"readers\":%d,\"gone\":%d,\"refused\":%llu,\"delivered\":%llu,\"lost\":%llu,\"doubled\":%llu,\"disorder\":%llu,"
           "\"frames\":%llu,\"reads\":%llu,\"bytes\":%llu,\"polls\":%llu,\"seconds\":%.6f,\"cpu\":%.6f,",
           reader_count, gone_count, (unsigned long long)refused, (unsigned long long)delivered, (unsigned long long)lost,
           (unsigned long long)doubled, (unsigned long long)disorder, (unsigned long long)frames, (unsigned long long)reads,
           (unsigned long long)bytes, (unsigned long long)polls, (double)(last_at - first_at) / 1e9,
           (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_began) / 1e9);
    print_delays();
    printf("}\n");
}

static void expect(uint64_t events, uint64_t patience_ms) {
    uint64_t all = events * (uint64_t)reader_count, heard = clock_ns(CLOCK_MONOTONIC), lost = 0;
    for (;;) {
        uint64_t before = reads;
        turn(10);
        uint64_t at = clock_ns(CLOCK_MONOTONIC);
        if (reads != before) heard = at;
        /* Behind the last one a doubled one might come. */
        if (at - heard > (delivered >= all ? 20u : patience_ms) * 1000000u) break;
    }
    for (int i = 0; i < reader_count; i++) lost += missing(readers[i], events);
    print_round(lost);
}

static int unanswered(void) {
    int number = 0;
    for (int i = 0; i < reader_count; i++) number += readers[i]->phase != GONE && readers[i]->asked;
    return number;
}

/* Ask, and at the end wait for the answers that are still to come: behind them the next round may ask again. */
static void poll_for(double seconds) {
    uint64_t until = clock_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9), patience = until + 5000000000u;
    begin_round(size);
    polling = 1;
    for (int i = 0; i < reader_count; i++)
        if (readers[i]->phase != GONE) ask(readers[i]);
    while (clock_ns(CLOCK_MONOTONIC) < until) turn(10);
    polling = 0;
    uint64_t counted[] = {polls, delivered, frames, reads, bytes, last_at}; /* what comes later is not of this round */
    while (unanswered() && clock_ns(CLOCK_MONOTONIC) < patience) turn(10);
    polls = counted[0], delivered = counted[1], frames = counted[2], reads = counted[3], bytes = counted[4], last_at = counted[5];
    for (int i = 0; i < reader_count; i++)
        if (readers[i]->phase != GONE && readers[i]->asked) leave(readers[i]);
    print_round(0);
}

/* Obey one line; gives 0 at the end. */
static int obey(const char *line) {
    unsigned long long first = 0, second = 0;
    double seconds = 0;
    if (sscanf(line, "add %llu %llu", &first, &second) == 2) add((int)first, (int)second);
    else if (sscanf(line, "round %llu", &first) == 1) begin_round(first), printf("{\"began\":true}\n");
    else if (sscanf(line, "expect %llu %llu", &first, &second) == 2) expect(first, second);
    else if (sscanf(line, "poll %lf", &seconds) == 1) poll_for(seconds);
    else return 0;
    fflush(stdout);
    return 1;
}

/* Obey all lines that have come; gives 0 at the end. */
static int obey_all(void) {
    static char told[4096];
    static size_t length;
    ssize_t got = read(0, told + length, sizeof told - 1 - length);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    told[length += (size_t)got] = 0;
    char *line = told, *end;
    for (; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        if (!obey(line)) return 0;
    }
    memmove(told, line, length = strlen(line));
    return 1;
}

static int histogram_of_input(void) {
    unsigned long long value;
    while (scanf("%llu", &value) == 1) record(value);
    putchar('{');
    print_delays();
    puts("}");
    return 0;
}

static int usage(void) {
    fputs("load HOST PORT PATH ws|sse|poll|wait [--hello] [--socketio] [--header 'Name: value']... [--read BYTES]\n", stderr);
    return 2;
}

static int parse(int argc, char **argv) {
    static const char *const names[] = {"ws", "sse", "poll", "wait"};
    char extra[2048] = "";
    int known = -1;
    for (int i = 0; argc > 4 && i < 4; i++)
        if (!strcmp(argv[4], names[i])) wire = (Wire)(known = i);
    server = (struct sockaddr_in){.sin_family = AF_INET};
    if (known < 0 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) return 0;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    for (int i = 5; i < argc; i++) {
        if (!strcmp(argv[i], "--hello")) hello = 1;
        else if (!strcmp(argv[i], "--socketio")) socketio = 1;
        else if (!strcmp(argv[i], "--header") && i + 1 < argc && strlen(extra) + strlen(argv[i + 1]) < sizeof extra - 3)
            strcat(strcat(extra, argv[++i]), "\r\n");
        else if (!strcmp(argv[i], "--read") && i + 1 < argc && atoi(argv[i + 1]) > 0 && atoi(argv[i + 1]) < ROOM)
            at_a_time = (size_t)atoi(argv[++i]);
        else return 0;
    }
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%s\r\n%s%s\r\n", argv[3], argv[1], argv[2], extra,
             wire == WS ? "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
             : wire == SSE ? "Accept: text/event-stream\r\n"
                           : "");
    return 1;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--histogram")) return histogram_of_input();
    if (!parse(argc, argv)) return usage();
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    fcntl(0, F_SETFL, O_NONBLOCK);
    struct epoll_event commands = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &commands);
    while (!turn(-1) || obey_all()) {}
    return 0;
}
