/* PKCS#11 module that forwards all calls to another module, and injects the fault in the file "fault" of its
   directory: a function and the code that it returns, "hang" in place of the code, or for GetTokenInfo flags that
   it adds. The word "once" after the code removes the fault after its first use. Each login adds a byte to the
   file "logins". */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long U;
typedef U (*Call2)(U, void *);
typedef U (*Call3)(U, void *, U);
typedef U (*Call4)(U, U, void *, U);
typedef U (*Call5)(U, U, void *, void *, void *);
typedef U (*CallCrypt)(U, void *, U, void *, void *);

/* CK_FUNCTION_LIST of PKCS#11 2.40: a version, then 68 functions. */
struct list {
    unsigned char version[2];
    void *call[68];
};
enum { GET_TOKEN_INFO = 6, OPEN_SESSION = 12, LOGIN = 18, FIND = 26, ENCRYPT_INIT = 29, DECRYPT_INIT = 33, DECRYPT = 34 };

static struct list own, *real;

static FILE *in_directory(const char *name, const char *mode) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("FAULTY_DIRECTORY"), name);
    return fopen(path, mode);
}

static U fault(const char *function) {
    char name[64] = "", code[64] = "", once[64] = "", path[4096];
    FILE *file = in_directory("fault", "r");
    if (!file) return 0;
    int count = fscanf(file, "%63s %63s %63s", name, code, once);
    fclose(file);
    if (count < 2 || strcmp(name, function)) return 0;
    if (!strcmp(code, "hang")) {
        while ((file = in_directory("fault", "r"))) {
            fclose(file);
            usleep(1000);
        }
        return 0;
    }
    if (!strcmp(once, "once")) {
        snprintf(path, sizeof path, "%s/fault", getenv("FAULTY_DIRECTORY"));
        unlink(path);
    }
    return strtoul(code, 0, 10);
}

static U get_token_info(U slot, void *info) {
    U code = ((Call2)real->call[GET_TOKEN_INFO])(slot, info);
    /* The flags follow 32 + 32 + 16 + 16 bytes of text. */
    if (!code) *(U *)((char *)info + 96) |= fault("GetTokenInfo");
    return code;
}
static U open_session(U slot, U flags, void *a, void *b, void *session) {
    U code = fault("OpenSession");
    return code ? code : ((Call5)real->call[OPEN_SESSION])(slot, flags, a, b, session);
}
static U login(U session, U user, void *pin, U length) {
    FILE *file = in_directory("logins", "a");
    if (file) {
        fputc('.', file);
        fclose(file);
    }
    U code = fault("Login");
    return code ? code : ((Call4)real->call[LOGIN])(session, user, pin, length);
}
static U find(U session, void *template, U count) {
    U code = fault("FindObjectsInit");
    return code ? code : ((Call3)real->call[FIND])(session, template, count);
}
static U encrypt_init(U session, void *mechanism, U key) {
    U code = fault("EncryptInit");
    return code ? code : ((Call3)real->call[ENCRYPT_INIT])(session, mechanism, key);
}
static U decrypt_init(U session, void *mechanism, U key) {
    U code = fault("DecryptInit");
    return code ? code : ((Call3)real->call[DECRYPT_INIT])(session, mechanism, key);
}
static U decrypt(U session, void *in, U length, void *out, void *out_length) {
    U code = fault("Decrypt");
    return code ? code : ((CallCrypt)real->call[DECRYPT])(session, in, length, out, out_length);
}

U C_GetFunctionList(struct list **out) {
    if (!real) {
        void *module = dlopen(getenv("FAULTY_MODULE"), RTLD_NOW);
        if (!module) return 5;
        U code = ((U (*)(struct list **))dlsym(module, "C_GetFunctionList"))(&real);
        if (code) return code;
        own = *real;
        own.call[GET_TOKEN_INFO] = get_token_info;
        own.call[OPEN_SESSION] = open_session;
        own.call[LOGIN] = login;
        own.call[FIND] = find;
        own.call[ENCRYPT_INIT] = encrypt_init;
        own.call[DECRYPT_INIT] = decrypt_init;
        own.call[DECRYPT] = decrypt;
    }
    *out = &own;
    return 0;
}
