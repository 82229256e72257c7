/* The floor: what the socket traffic itself costs, with nothing behind it.
 *
 * Once a tick one epoll sweep receives whatever each client has sent (one input of
 * 26 bytes), then each client is sent one frame of the given size. There is no game,
 * no interest, no encoding: the frame is the same for all but for the tick in it. It
 * answers any opening bytes as an accepted WebSocket upgrade, so that the crowd's own
 * client can drive it.
 *
 *   floor PORT FRAME_BYTES HEAD_BYTES TICK_HZ
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS 65536
#define MAX_FRAME 65536
#define EVENTS 4096

static const char UPGRADE[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

static char playing[MAX_FDS];
static int clients[MAX_FDS], place[MAX_FDS], count;
static volatile sig_atomic_t stopping;

static void stop(int number) {
    (void)number;
    stopping = 1;
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void leave(int fd) {
    if (playing[fd]) {
        int last = clients[--count];
        clients[place[fd]] = last;
        place[last] = place[fd];
        playing[fd] = 0;
    }
    close(fd);
}

static void accept_all(int listener, int poll) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void receive(int fd) {
    char data[4096];
    ssize_t got = recv(fd, data, sizeof data, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        leave(fd);
    } else if (got > 0 && !playing[fd]) {
        if (send(fd, UPGRADE, sizeof UPGRADE - 1, MSG_NOSIGNAL) < 0) {
            leave(fd);
            return;
        }
        playing[fd] = 1;
        place[fd] = count;
        clients[count++] = fd;
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: floor PORT FRAME_BYTES HEAD_BYTES TICK_HZ\n");
        return 2;
    }
    int port = atoi(argv[1]), size = atoi(argv[2]), head = atoi(argv[3]);
    double interval = 1.0 / atof(argv[4]);
    if (size < head + 16 || size < 130 || size > MAX_FRAME || head < 18 || head > 255) {
        fprintf(stderr, "floor: a frame of %d bytes cannot hold a head of %d\n", size, head);
        return 2;
    }

    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    signal(SIGPIPE, SIG_IGN);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("floor");
        return 1;
    }
    int poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);

    /* A SNAPSHOT frame: 82 7e len16 | 93 11 | c4 len head | c6 len32 body. */
    static unsigned char frame[MAX_FRAME];
    int payload = size - 4, body = payload - 4 - head - 5;
    unsigned char start[] = {0x82, 126, payload >> 8, payload, 0x93, 0x11, 0xc4, head};
    memcpy(frame, start, sizeof start);
    unsigned char bin[] = {0xc6, body >> 24, body >> 16, body >> 8, body};
    memcpy(frame + sizeof start + head, bin, sizeof bin);

    static struct epoll_event events[EVENTS];
    unsigned tick = 0;
    double origin = now_s();
    while (!stopping) {
        int ready;
        do {
            ready = epoll_wait(poll, events, EVENTS, 0);
            for (int i = 0; i < ready; i++) {
                if (events[i].data.fd == listener)
                    accept_all(listener, poll);
                else
                    receive(events[i].data.fd);
            }
        } while (ready == EVENTS);

        tick++;
        memcpy(frame + sizeof start, &tick, sizeof tick);
        for (int i = count - 1; i >= 0; i--) {
            int fd = clients[i];
            ssize_t sent = send(fd, frame, size, MSG_NOSIGNAL);
            if (sent != size && !(sent < 0 && errno == EAGAIN))
                leave(fd);
        }

        double rest = origin + tick * interval - now_s();
        if (rest > 0) {
            struct timespec t = {(time_t)rest, (long)((rest - (time_t)rest) * 1e9)};
            nanosleep(&t, NULL);
        }
    }
    return 0;
}
