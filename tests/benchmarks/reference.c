/* The reference server: what one core can do when nothing but the kernel is in the way. One epoll, no threads.
 *
 *     reference             one send for each event and reader
 *     reference --batch     what is due in one turn goes to each reader in one send
 *     reference --post HOST PORT PATH     no server: posts the events to a server that is published to over HTTP
 *
 * It serves /ws, /sse, /poll (answered at once) and /wait (never answered) on a free port of 127.0.0.1, and says which:
 * {"listening":4711}. Then it is told what to publish by lines of JSON on standard input, as every subject is:
 *
 *     {"rate":20000,"seconds":3,"size":100}    open loop: on a schedule, late ones at once, stamped with when they were due
 *     {"single":true,"seconds":3,"size":100}   one event, and the next when it has been written to all
 *     {"blast":200000,"size":100,"frame":100}  so many events, made beforehand and framed by hundreds, as fast as the
 *                                              readers take them: the ceiling of the load client
 *     {"numbers":[0,1,3],"size":100}           events with these numbers: what a wrong server would send
 *     {"body":185}                             from now on, polls are answered with an event in a body of 185 bytes
 *     {"quit":true}
 *
 * and answers {"sent":60000,"seconds":3.001}. It knows no more of HTTP than the load client needs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TURN = 512, REQUEST_MAX = 4096, EVENT_MAX = 1 << 20, PIECE = 1 << 15 }; /* a piece of the tape stays in the caches */
typedef enum { NEW, WS, SSE, WIRES } Wire;

typedef struct Reader {
    int fd;
    Wire wire;
    int place;             /* in the list of its wire */
    char *unsent;          /* what the socket did not take */
    size_t length, room;
    size_t taped;          /* bytes of the tape that were written */
    char taping;           /* and there are more */
    char *asked;           /* the part of a request that has come */
    size_t asked_length;
} Reader;

typedef struct {
    char *bytes;
    size_t length, room;
} Bytes;

static int epoll_fd, listening, batching;
static Reader **members[WIRES];
static int member_count[WIRES], member_room[WIRES], behind; /* `behind`: readers with unsent bytes */
static Bytes tape[WIRES];
static char poll_answer[2048] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";
static int told_now, quitting;

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- bytes ---- */

static void append(Bytes *to, const void *from, size_t length) {
    if (to->length + length > to->room) {
        to->room = 2 * (to->length + length);
        to->bytes = realloc(to->bytes, to->room);
    }
    memcpy(to->bytes + to->length, from, length);
    to->length += length;
}

/* The data of an event, exactly `size` bytes if its numbers leave room for that. Gives its length. */
static size_t event_data(char *to, uint64_t n, uint64_t due, size_t size) {
    size_t length = (size_t)sprintf(to, "{\"n\":%llu,\"t\":%llu,\"pad\":\"", (unsigned long long)n, (unsigned long long)due);
    size_t pad = size > length + 2 ? size - length - 2 : 0;
    memset(to + length, 'x', pad);
    memcpy(to + length + pad, "\"}", 3);
    return length + pad + 2;
}

/* A whole text frame, RFC 6455 section 5.2. */
static void frame_websocket(Bytes *to, const char *text, size_t length) {
    unsigned char head[10] = {0x81, (unsigned char)length};
    size_t used = 2;
    if (length > 125) {
        int wide = length > 65535;
        head[1] = wide ? 127 : 126;
        for (int shift = wide ? 56 : 8; shift >= 0; shift -= 8) head[used++] = (unsigned char)((uint64_t)length >> shift);
    }
    append(to, head, used);
    append(to, text, length);
}

/* Blocks of an event stream, as one chunk: RFC 9112 section 7.1. */
static void frame_sse(Bytes *to, const char *blocks, size_t length) {
    char head[24];
    append(to, head, (size_t)sprintf(head, "%zx\r\n", length));
    append(to, blocks, length);
    append(to, "\r\n", 2);
}

static void frame_event(Bytes *to, Wire wire, const char *data, size_t length) {
    static Bytes block;
    if (wire == WS) {
        frame_websocket(to, data, length);
        return;
    }
    block.length = 0;
    append(&block, "data: ", 6);
    append(&block, data, length);
    append(&block, "\n\n", 2);
    frame_sse(to, block.bytes, block.length);
}

/* ---- readers ---- */

static void watch(Reader *r, uint32_t events, int how) {
    struct epoll_event wanted = {.events = events, .data.ptr = r};
    epoll_ctl(epoll_fd, how, r->fd, &wanted);
}

static void enlist(Reader *r, Wire wire) {
    if (member_count[wire] == member_room[wire]) {
        member_room[wire] = member_room[wire] ? 2 * member_room[wire] : 64;
        members[wire] = realloc(members[wire], (size_t)member_room[wire] * sizeof(Reader *));
    }
    r->wire = wire;
    r->place = member_count[wire];
    members[wire][member_count[wire]++] = r;
}

static void drop(Reader *r) {
    if (r->wire != NEW) {
        Reader *last = members[r->wire][--member_count[r->wire]];
        members[r->wire][last->place = r->place] = last;
    }
    if (r->length || r->taping) behind--;
    close(r->fd);
    free(r->unsent);
    free(r->asked);
    free(r);
}

static void keep_unsent(Reader *r, const char *bytes, size_t length) {
    Bytes kept = {r->unsent, r->length, r->room};
    append(&kept, bytes, length);
    if (!r->length) {
        behind++;
        watch(r, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    r->unsent = kept.bytes, r->length = kept.length, r->room = kept.room;
}

/* Send, or keep what the socket does not take. A reader that has gone is dropped when its end is read. */
static void put(Reader *r, const char *bytes, size_t length) {
    ssize_t sent = r->length ? 0 : send(r->fd, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return;
    if (sent < 0) sent = 0;
    if ((size_t)sent < length) keep_unsent(r, bytes + sent, length - (size_t)sent);
}

static void send_unsent(Reader *r) {
    ssize_t sent = send(r->fd, r->unsent, r->length, MSG_NOSIGNAL);
    if (sent <= 0) return;
    memmove(r->unsent, r->unsent + sent, r->length -= (size_t)sent);
    if (r->length) return;
    behind--;
    watch(r, EPOLLIN, EPOLL_CTL_MOD);
}

static void send_tape(Reader *r) {
    Bytes *from = &tape[r->wire];
    size_t left = from->length - r->taped;
    ssize_t sent = send(r->fd, from->bytes + r->taped, left < PIECE ? left : PIECE, MSG_NOSIGNAL);
    if (sent <= 0) return;
    if ((r->taped += (size_t)sent) < from->length) return;
    r->taping = 0;
    behind--;
    watch(r, EPOLLIN, EPOLL_CTL_MOD);
}

static void answer(Reader *r, const char *path) {
    static const char upgraded[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   /* of the one key that the load client sends, RFC 6455 section 4.2.2 */
                                   "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n";
    static const char stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n";
    if (!strncmp(path, "/ws", 3)) put(r, upgraded, sizeof upgraded - 1), enlist(r, WS);
    else if (!strncmp(path, "/sse", 4)) put(r, stream, sizeof stream - 1), enlist(r, SSE);
    else if (!strncmp(path, "/poll", 5)) put(r, poll_answer, strlen(poll_answer));
    else if (strncmp(path, "/wait", 5)) put(r, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 45);
}

/* Read what the reader says: requests, or frames that nobody looks at. */
static void hear(Reader *r) {
    static char buffer[REQUEST_MAX + 1];
    size_t old = r->asked_length;
    if (old) memcpy(buffer, r->asked, old);
    ssize_t got = recv(r->fd, buffer + old, REQUEST_MAX - old, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN) || (got > 0 && old + (size_t)got == REQUEST_MAX && r->wire == NEW)) {
        drop(r);
        return;
    }
    if (got < 0 || r->wire != NEW) return;
    char *p = buffer, *end;
    buffer[old + (size_t)got] = 0;
    for (; r->wire == NEW && (end = strstr(p, "\r\n\r\n")); p = end + 4)
        if (!strncmp(p, "GET ", 4)) answer(r, p + 4);
    free(r->asked);
    r->asked_length = r->wire == NEW ? strlen(p) : 0;
    r->asked = r->asked_length ? memcpy(malloc(r->asked_length), p, r->asked_length) : NULL;
}

static void take_in(void) {
    int fd, yes = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        Reader *r = calloc(1, sizeof *r);
        r->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        watch(r, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void obey_all(void);

static void turn(int wait) {
    struct epoll_event ready[TURN];
    int number = epoll_wait(epoll_fd, ready, TURN, wait);
    for (int i = 0; i < number; i++) {
        Reader *r = ready[i].data.ptr;
        if (r == (void *)&listening) take_in();
        else if (r == (void *)&epoll_fd) told_now = 1;
        else {
            if (ready[i].events & EPOLLOUT && r->length) send_unsent(r);
            else if (ready[i].events & EPOLLOUT) send_tape(r);
            if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hear(r);
        }
    }
}

/* ---- publishing ---- */

static void to_all(Wire wire, const Bytes *framed) {
    for (int i = 0; i < member_count[wire]; i++) put(members[wire][i], framed->bytes, framed->length);
}

/* Publish the events from..to, due at `began` + n * `gap` nanoseconds. */
static void publish(uint64_t from, uint64_t to, uint64_t began, double gap, size_t size) {
    static Bytes framed[WIRES];
    static char data[EVENT_MAX + 64];
    for (uint64_t n = from; n < to; n++) {
        size_t length = event_data(data, n, began + (uint64_t)(gap * (double)n), size);
        for (Wire wire = WS; wire < WIRES; wire++) {
            if (!member_count[wire]) continue;
            frame_event(&framed[wire], wire, data, length);
            if (batching && n + 1 < to && framed[wire].length < 262144) continue;
            to_all(wire, &framed[wire]);
            framed[wire].length = 0;
        }
    }
}

static uint64_t offer(double rate, double seconds, size_t size) {
    uint64_t sent = 0, total = (uint64_t)(rate * seconds), began = clock_ns();
    while (sent < total) {
        uint64_t due = (uint64_t)((double)(clock_ns() - began) * rate / 1e9) + 1;
        if (due > total) due = total;
        publish(sent, due, began, 1e9 / rate, size);
        turn(due > sent ? 0 : 1);
        sent = due;
    }
    return sent;
}

static uint64_t one_by_one(double seconds, size_t size) {
    uint64_t sent = 0, until = clock_ns() + (uint64_t)(seconds * 1e9);
    for (; clock_ns() < until; sent++) {
        publish(sent, sent + 1, clock_ns(), 0, size);
        do turn(0);
        while (behind);
    }
    return sent;
}

/* A tape of events as everywire's items, `each` in a frame. */
static void make_tape(Wire wire, uint64_t events, size_t size, uint64_t each) {
    static char data[EVENT_MAX + 64];
    char item[128];
    Bytes framed = {0};
    tape[wire].length = 0;
    for (uint64_t n = 0; n < events; n++) {
        const char *before = wire == SSE ? "id: blasts.%llu\ndata: " : n % each ? "," : each > 1 ? "[" : "";
        append(&framed, item, (size_t)sprintf(item, before, (unsigned long long)n));
        if (each > 1)
            append(&framed, item, (size_t)sprintf(item, "{\"type\":\"event\",\"id\":\"blasts.%llu\",\"channel\":\"bench\",\"at\":1763850000.1234567,\"data\":",
                                                  (unsigned long long)n));
        append(&framed, data, event_data(data, n, clock_ns(), size));
        if (each > 1) append(&framed, "}", 1);
        if (wire == SSE) append(&framed, "\n\n", 2);
        if ((n + 1) % each && n + 1 < events) continue;
        if (wire == WS && each > 1) append(&framed, "]", 1);
        (wire == WS ? frame_websocket : frame_sse)(&tape[wire], framed.bytes, framed.length);
        framed.length = 0;
    }
    free(framed.bytes);
}

static uint64_t blast(uint64_t events, size_t size, uint64_t each) {
    for (Wire wire = WS; wire < WIRES; wire++) {
        if (member_count[wire]) make_tape(wire, events, size, each);
        for (int i = 0; i < member_count[wire]; i++, behind++) {
            members[wire][i]->taped = 0;
            members[wire][i]->taping = 1;
            watch(members[wire][i], EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
        }
    }
    while (behind) turn(10);
    return events;
}

static uint64_t send_numbers(const char *list, size_t size) {
    uint64_t sent = 0;
    char *end;
    for (const char *p = list + 1; *p && *p != ']'; p = *end == ',' ? end + 1 : end, sent++) {
        uint64_t n = strtoull(p, &end, 10);
        if (end == p) break;
        publish(n, n + 1, clock_ns(), 0, size);
    }
    while (behind) turn(10);
    return sent;
}

static void set_body(size_t length) {
    char data[1024];
    if (length < 100 || length > sizeof data - 100) length = 185;
    size_t used = event_data(data, 0, clock_ns(), length);
    snprintf(poll_answer, sizeof poll_answer,
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: %zu\r\n\r\n%s", used, data);
}

/* ---- posting to another server: one connection, requests in a row, answers counted ---- */

static int post_fd = -1;
static const char *post_host, *post_path;

static void connect_post(const char *host, int port, const char *path) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1;
    inet_pton(AF_INET, host, &server.sin_addr);
    post_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(post_fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(post_fd, (struct sockaddr *)&server, sizeof server)) {
        perror("reference: connect");
        exit(1);
    }
    post_host = host, post_path = path;
}

/* How many answers are complete in what has come: each has no body, or its length is told. */
static int answers(int wait) {
    static char buffer[1 << 16];
    static size_t length;
    int count = 0;
    ssize_t got = recv(post_fd, buffer + length, sizeof buffer - 1 - length, wait ? 0 : MSG_DONTWAIT);
    if (got <= 0) return 0;
    buffer[length += (size_t)got] = 0;
    char *p = buffer, *end;
    while ((end = strstr(p, "\r\n\r\n"))) {
        *end = 0;
        char *field = strcasestr(p, "\r\ncontent-length:");
        size_t body = field ? strtoull(field + 17, NULL, 10) : 0;
        if (p[9] != '2') fprintf(stderr, "reference: a post was answered with %.32s\n", p);
        *end = '\r';
        if (end + 4 + body > buffer + length) break;
        p = end + 4 + body;
        count++;
    }
    memmove(buffer, p, length -= (size_t)(p - buffer));
    buffer[length] = 0;
    return count;
}

static void post(uint64_t n, uint64_t due, size_t size) {
    static char bytes[EVENT_MAX + 1024], data[EVENT_MAX + 64];
    size_t length = event_data(data, n, due, size);
    int head = sprintf(bytes, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                       post_path, post_host, length);
    memcpy(bytes + head, data, length);
    for (size_t sent = 0, all = (size_t)head + length; sent < all;) {
        ssize_t more = send(post_fd, bytes + sent, all - sent, MSG_NOSIGNAL);
        if (more < 0) exit(1);
        sent += (size_t)more;
    }
}

/* As `offer` and, with a rate of 0, as `one_by_one`; at most `WINDOW` posts are not answered yet. */
static uint64_t post_all(double rate, double seconds, size_t size) {
    enum { WINDOW = 64 };
    uint64_t sent = 0, answered = 0, began = clock_ns(), total = (uint64_t)(rate * seconds);
    struct timespec tick = {0, 200000};
    while (rate > 0 ? sent < total : (double)(clock_ns() - began) < seconds * 1e9) {
        uint64_t window = rate > 0 ? WINDOW : 1, at = clock_ns();
        uint64_t due = rate > 0 ? (uint64_t)((double)(at - began) * rate / 1e9) + 1 : sent + 1;
        if (due > total && rate > 0) due = total;
        if (due == sent) nanosleep(&tick, NULL);
        for (; sent < due && sent - answered < window; sent++)
            post(sent, rate > 0 ? began + (uint64_t)(1e9 / rate * (double)sent) : at, size);
        answered += (uint64_t)answers(sent - answered >= window);
    }
    while (answered < sent) answered += (uint64_t)answers(1);
    return sent;
}

/* ---- commands ---- */

static double value(const char *line, const char *name, double otherwise) {
    const char *found = strstr(line, name);
    return found ? strtod(found + strlen(name), NULL) : otherwise;
}

static void obey(const char *line) {
    uint64_t sent = 0, began = clock_ns();
    size_t size = (size_t)value(line, "\"size\":", 100);
    double seconds = value(line, "\"seconds\":", 1), rate = value(line, "\"rate\":", 0);
    const char *list = strstr(line, "\"numbers\":");
    if (size > EVENT_MAX) size = EVENT_MAX;
    if (strstr(line, "\"quit\"")) quitting = 1;
    else if (strstr(line, "\"body\":")) set_body((size_t)value(line, "\"body\":", 0));
    else if (list) sent = send_numbers(list + 10, size);
    else if (strstr(line, "\"blast\":")) sent = blast((uint64_t)value(line, "\"blast\":", 0), size, (uint64_t)value(line, "\"frame\":", 1));
    else if (post_fd >= 0) sent = post_all(rate, seconds, size);
    else sent = rate > 0 ? offer(rate, seconds, size) : one_by_one(seconds, size);
    printf("{\"sent\":%llu,\"seconds\":%.6f}\n", (unsigned long long)sent, (double)(clock_ns() - began) / 1e9);
    fflush(stdout);
}

static void obey_all(void) {
    static char told[1 << 16];
    static size_t length;
    ssize_t got = read(0, told + length, sizeof told - 1 - length);
    if (got <= 0 && !(got < 0 && errno == EAGAIN)) quitting = 1;
    if (got <= 0) return;
    told[length += (size_t)got] = 0;
    char *line = told, *end;
    for (; !quitting && (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        obey(line);
    }
    memmove(told, line, length = strlen(line));
}

static int listen_anywhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 4096)) {
        perror("reference: listen");
        exit(1);
    }
    getsockname(listening, (struct sockaddr *)&address, &length);
    return ntohs(address.sin_port);
}

static void watch_special(int fd, void *what) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = what};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &wanted);
}

static void raise_limit(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

int main(int argc, char **argv) {
    int port = 0;
    raise_limit();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (argc == 5 && !strcmp(argv[1], "--post")) {
        connect_post(argv[2], port = atoi(argv[3]), argv[4]);
    } else {
        batching = argc == 2 && !strcmp(argv[1], "--batch");
        port = listen_anywhere();
        watch_special(listening, &listening);
    }
    set_body(185);
    fcntl(0, F_SETFL, O_NONBLOCK);
    watch_special(0, &epoll_fd);
    printf("{\"listening\":%d}\n", port);
    fflush(stdout);
    while (!quitting) {
        turn(-1);
        if (told_now) told_now = 0, obey_all();
    }
    return 0;
}
