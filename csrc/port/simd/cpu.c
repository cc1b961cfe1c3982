/* cpu.c - what the processor has (Intel SDM, volume 2, CPUID; the same on AMD). */
#include "port/simd/kernel.h"

#ifdef ATLAS_KERNEL_X86
#include <cpuid.h>

/* Which registers the operating system saves for a program: XCR0. Not to be asked unless CPUID says OSXSAVE. */
static uint64_t saved_registers(void)
{
    uint32_t low;
    uint32_t high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

#define OSXSAVE (1u << 27)       /* leaf 1, ECX */
#define SSSE3_SSE41 (1u << 9 | 1u << 19)
#define SHA (1u << 29)           /* leaf 7, EBX */
#define AVX512_F_BW_VL (1u << 16 | 1u << 30 | 1u << 31)
#define SAVES_ZMM UINT64_C(0xe6) /* SSE, AVX, and the three of AVX-512 */

unsigned atlas_cpu_features(void)
{
    unsigned features = 0;
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0) {
        return 0;
    }
    bool is_sse = (c & SSSE3_SSE41) == SSSE3_SSE41;
    bool saves = (c & OSXSAVE) != 0 && (saved_registers() & SAVES_ZMM) == SAVES_ZMM;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) {
        return 0;
    }
    if (is_sse && (b & SHA) != 0) {
        features |= ATLAS_CPU_SHA;
    }
    if (saves && (b & AVX512_F_BW_VL) == AVX512_F_BW_VL) {
        features |= ATLAS_CPU_AVX512;
    }
    return features;
}
#else
unsigned atlas_cpu_features(void)
{
    return 0;
}
#endif
