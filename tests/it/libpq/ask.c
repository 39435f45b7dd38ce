/* Asks libpq what it makes of connection strings: one a line in, one line of answer out.
 *
 * The library is loaded at run time, so that neither its headers nor its development package are needed.
 * First come the names of all parameters that it knows, on one line. Then each answer is "refused" with the
 * message, or "accepted" with name=value for each parameter and the user and host in force. All texts are
 * hexadecimal. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *keyword, *envvar, *compiled, *val, *label, *dispchar;
    int dispsize;
} Option;

static void *library;

static void *function(const char *name) {
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "libpq has no %s\n", name);
        exit(2);
    }
    return found;
}

static void hex(const char *text) {
    for (; text && *text; text++) printf("%02x", (unsigned char)*text);
}

static void refused(const char *message) {
    printf("refused ");
    hex(message);
    printf("\n");
}

int main(void) {
    const char *names[] = {"libpq.so.5", "libpq.5.dylib", "libpq.so"};
    for (int i = 0; i < 3 && !library; i++) library = dlopen(names[i], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "libpq is not there\n");
        return 3;
    }
    Option *(*defaults)(void) = function("PQconndefaults");
    Option *(*parse)(const char *, char **) = function("PQconninfoParse");
    void *(*start)(const char *) = function("PQconnectStart");
    int (*status)(void *) = function("PQstatus");
    char *(*message)(void *) = function("PQerrorMessage");
    char *(*host)(void *) = function("PQhost");
    char *(*user)(void *) = function("PQuser");
    void (*finish)(void *) = function("PQfinish");
    void (*release)(Option *) = function("PQconninfoFree");

    for (Option *option = defaults(); option->keyword; option++) printf("%s ", option->keyword);
    printf("\n");
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) > 0) {
        line[strcspn(line, "\n")] = 0;
        char *error = NULL;
        Option *options = parse(line, &error);
        if (!options) {
            refused(error);
            continue;
        }
        /* Words and numbers are looked at when a connection is begun. */
        void *connection = start(line);
        const char *why = message(connection);
        int connects = strstr(why, "Is the server running") || strstr(why, "setsockopt(");
        if (status(connection) == 1 && !connects) {
            refused(why);
        } else {
            printf("accepted ");
            for (Option *option = options; option->keyword; option++) {
                if (!option->val) continue;
                printf("%s=", option->keyword);
                hex(option->val);
                printf(" ");
            }
            printf("USER=");
            hex(user(connection));
            printf(" HOST=");
            hex(host(connection));
            printf("\n");
        }
        finish(connection);
        release(options);
    }
    return 0;
}
