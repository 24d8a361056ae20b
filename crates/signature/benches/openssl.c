/* Verifies the signatures of the modules named on standard input with OpenSSL's CMS_verify, in as many threads as asked for; the
 * peer of verify.rs. Usage: openssl CERTIFICATE.der THREADS < LIST
 * With 0 threads: the nanoseconds of one RSA operation with the certificate's key, over bytes that are all 1. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
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

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* The best of many short rounds, as in verify.rs. */
static int power(void)
{
    unsigned char in[1024], out[1024];
    memset(in, 1, sizeof in);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(X509_get0_pubkey(certificate), NULL);
    size_t size = EVP_PKEY_get_size(X509_get0_pubkey(certificate));
    double best = 1e9;
    for (int round = 0; round < 200; round++) {
        double begin = seconds();
        for (int time = 0; time < 20; time++) {
            size_t length = sizeof out;
            if (size > sizeof in || EVP_PKEY_verify_recover_init(context) != 1 ||
                EVP_PKEY_CTX_set_rsa_padding(context, RSA_NO_PADDING) != 1 ||
                EVP_PKEY_verify_recover(context, out, &length, in, size) != 1)
                return 1;
        }
        double time = (seconds() - begin) / 20;
        if (time < best)
            best = time;
    }
    printf("1 %.9f\n", best);
    return 0;
}

int main(int arguments, char **argument)
{
    if (arguments != 3)
        return 2;
    FILE *file = fopen(argument[1], "rb");
    certificate = file ? d2i_X509_fp(file, NULL) : NULL;
    if (!certificate)
        return 2;
    if (atoi(argument[2]) == 0)
        return power();
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&line, &room, stdin)) > 0) {
        line[length - 1] = 0;
        names = realloc(names, (count + 1) * sizeof *names);
        names[count++] = strdup(line);
    }
    double begin = seconds();
    int threads = atoi(argument[2]);
    pthread_t thread[64];
    for (int i = 0; i < threads && i < 64; i++)
        pthread_create(&thread[i], NULL, work, NULL);
    for (int i = 0; i < threads && i < 64; i++)
        pthread_join(thread[i], NULL);
    printf("%d %.6f\n", good, seconds() - begin);
    return 0;
}
