/* Verifies the signatures of the modules named on standard input with OpenSSL's CMS_verify, in as many threads as asked for; the
 * peer of verify.rs. Usage: openssl CERTIFICATE.der THREADS < LIST */
#define _GNU_SOURCE
#include <fcntl.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char **names;
static int count;
static atomic_int next, good;
static X509 *certificate;

static void *work(void *unused)
{
    STACK_OF(X509) *signers = sk_X509_new_null();
    sk_X509_push(signers, certificate);
    for (;;) {
        int index = atomic_fetch_add(&next, 1);
        if (index >= count)
            break;
        int file = open(names[index], O_RDONLY);
        struct stat data;
        if (file < 0 || fstat(file, &data) || data.st_size < 68)
            continue;
        unsigned char *bytes = malloc(data.st_size);
        ssize_t length = read(file, bytes, data.st_size);
        close(file);
        const unsigned char *end = bytes + length - 32;
        long size = (long)end[0] << 24 | end[1] << 16 | end[2] << 8 | end[3];
        const unsigned char *message = bytes + length - 40 - size;
        CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &message, size);
        BIO *content = BIO_new_mem_buf(bytes, length - 40 - size);
        /* The certificate is trusted as it is, as a kernel trusts it: no chain is looked at. */
        if (cms && CMS_verify(cms, signers, NULL, content, NULL, CMS_BINARY | CMS_DETACHED | CMS_NO_SIGNER_CERT_VERIFY | CMS_NOINTERN) == 1)
            atomic_fetch_add(&good, 1);
        BIO_free(content);
        CMS_ContentInfo_free(cms);
        free(bytes);
    }
    return NULL;
}

int main(int arguments, char **argument)
{
    if (arguments != 3)
        return 2;
    FILE *file = fopen(argument[1], "rb");
    certificate = file ? d2i_X509_fp(file, NULL) : NULL;
    if (!certificate)
        return 2;
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&line, &room, stdin)) > 0) {
        line[length - 1] = 0;
        names = realloc(names, (count + 1) * sizeof *names);
        names[count++] = strdup(line);
    }
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    int threads = atoi(argument[2]);
    pthread_t thread[64];
    for (int i = 0; i < threads && i < 64; i++)
        pthread_create(&thread[i], NULL, work, NULL);
    for (int i = 0; i < threads && i < 64; i++)
        pthread_join(thread[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%d %.6f\n", good, (end.tv_sec - begin.tv_sec) + (end.tv_nsec - begin.tv_nsec) / 1e9);
    return 0;
}
