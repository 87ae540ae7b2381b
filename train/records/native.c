/* The most expensive steps from records to batches, for many records a call and without Python's lock. NumPy does the same
   where this library can't be used (no compiler, no CRC instruction, another version), only slower. native.py checks
   types, strides and lengths of what is passed here. */

#include <stdint.h>
#include <string.h>

#ifndef ABI_VERSION
#define ABI_VERSION 1 /* as in native.py; raise both when a function's name, arguments or meaning changes */
#endif

#define HEAD 12 /* of a TFRecord: length and its CRC */
#define TAIL 4  /* the data's CRC */
#define VARINT_BYTES 10 /* at most */

#if defined(__x86_64__)
#include <immintrin.h>
#define CRC_TARGET __attribute__((target("sse4.2")))
#define CRC_8(crc, word) _mm_crc32_u64(crc, word)
#define CRC_1(crc, byte) _mm_crc32_u8((uint32_t)(crc), byte)
static int has_crc(void) { return __builtin_cpu_supports("sse4.2") != 0; }
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <sys/auxv.h>
#define CRC_TARGET __attribute__((target("+crc")))
#define CRC_8(crc, word) __crc32cd((uint32_t)(crc), word)
#define CRC_1(crc, byte) __crc32cb((uint32_t)(crc), byte)
static int has_crc(void) { return (getauxval(AT_HWCAP) & (1 << 7)) != 0; } /* HWCAP_CRC32 */
#else
#define CRC_TARGET
#define CRC_8(crc, word) ((void)(word), (crc))
#define CRC_1(crc, byte) ((void)(byte), (crc))
static int has_crc(void) { return 0; }
#endif

int abi_version(void) { return ABI_VERSION; }

/* Whether the processor has the CRC instruction. */
int is_supported(void) { return has_crc(); }

static uint64_t word_at(const uint8_t *place) {
    uint64_t word;
    memcpy(&word, place, sizeof word);
    return word;
}

/* Whether the masked CRC at `tail` is that of `crc`, which is not inverted yet. */
static int crc_matches(const uint8_t *tail, uint64_t crc) {
    uint32_t value = (uint32_t)~crc, masked = (value >> 15 | value << 17) + 0xa282ead8u, stored;
    memcpy(&stored, tail, sizeof stored);
    return stored == masked; /* both little endian */
}

/* Number of frames, from the first on, whose data matches the CRC stored behind it. Four at a time: a CRC's next step has
   to wait for its last one, but the CRCs of four records don't wait for each other. */
CRC_TARGET static int64_t count_valid_data(const uint8_t *frames, int64_t stride, int64_t count) {
    const int64_t length = stride - HEAD - TAIL;
    int64_t done = 0;
    while (done < count) {
        const int lanes = count - done < 4 ? (int)(count - done) : 4;
        const uint8_t *data[4];
        uint64_t crc[4];
        for (int lane = 0; lane < 4; lane++) {
            data[lane] = frames + (done + (lane < lanes ? lane : 0)) * stride + HEAD;
            crc[lane] = 0xffffffffu;
        }
        int64_t place = 0;
        for (; place + 8 <= length; place += 8) {
            crc[0] = CRC_8(crc[0], word_at(data[0] + place));
            crc[1] = CRC_8(crc[1], word_at(data[1] + place));
            crc[2] = CRC_8(crc[2], word_at(data[2] + place));
            crc[3] = CRC_8(crc[3], word_at(data[3] + place));
        }
        for (; place < length; place++)
            for (int lane = 0; lane < 4; lane++) crc[lane] = CRC_1(crc[lane], data[lane][place]);
        for (int lane = 0; lane < lanes; lane++)
            if (!crc_matches(data[lane] + length, crc[lane])) return done + lane;
        done += lanes;
    }
    return count;
}

/* Number of TFRecord frames (count, stride), from the first on, whose head equals the first one's and, if `check`, whose
   data's CRC is right. */
int64_t count_valid_frames(const uint8_t *frames, int64_t stride, int64_t count, int check) {
    if (count < 1) return 0;
    int64_t same = 1;
    while (same < count && !memcmp(frames + same * stride, frames, HEAD)) same++;
    return check ? count_valid_data(frames, stride, same) : same;
}

/* Finds at most `most` whole TFRecords of any lengths at the start of `data`; writes where their data starts and how long it
   is, and returns their number. Stops before a record that is longer than `limit`, is not whole, or has a wrong CRC
   (`check` 0: no CRC is looked at, 1: the length's, 2: the data's, too). */
CRC_TARGET int64_t find_frames(const uint8_t *data, int64_t size, int check, int64_t limit, int64_t most,
                               int64_t *starts, int64_t *lengths) {
    int64_t place = 0, count = 0;
    while (count < most && size - place >= HEAD + TAIL) {
        const uint64_t length = word_at(data + place);
        if (length > (uint64_t)limit || (int64_t)length > size - place - HEAD - TAIL) break;
        if (check >= 1 && !crc_matches(data + place + 8, CRC_8(0xffffffffu, length))) break;
        const int64_t whole = HEAD + (int64_t)length + TAIL;
        if (check >= 2 && !count_valid_data(data + place, whole, 1)) break;
        starts[count] = place + HEAD;
        lengths[count++] = (int64_t)length;
        place += whole;
    }
    return count;
}

/* Number of rows (count, stride), from the first on, that equal `model` (length,) in each of the `gaps`, pairs of start and
   end, and hold one varint of `size` bytes at `label`; writes its value to `labels`. -1 if a gap is not within the row. */
int64_t match_layout(const uint8_t *rows, int64_t stride, int64_t length, int64_t count, const uint8_t *model,
                     const int64_t *gaps, int64_t gap_count, int64_t label, int64_t size, int64_t *labels) {
    for (int64_t gap = 0; gap < gap_count; gap++)
        if (gaps[2 * gap] < 0 || gaps[2 * gap] > gaps[2 * gap + 1] || gaps[2 * gap + 1] > length) return -1;
    for (int64_t row = 0; row < count; row++) {
        const uint8_t *record = rows + row * stride;
        for (int64_t gap = 0; gap < gap_count; gap++) {
            const int64_t start = gaps[2 * gap], end = gaps[2 * gap + 1];
            if (memcmp(record + start, model + start, (size_t)(end - start))) return row;
        }
        uint64_t value = 0;
        for (int64_t byte = 0; byte < size; byte++) {
            const uint8_t part = record[label + byte];
            if ((part >= 0x80) != (byte < size - 1) || (byte == VARINT_BYTES - 1 && part > 1)) return row;
            value |= (uint64_t)(part & 0x7f) << (7 * byte);
        }
        labels[row] = (int64_t)value;
    }
    return count;
}

/* Copies without filling the caches where the processor can: many other batches are written before this one is read. */
#if defined(__x86_64__)
static void copy(uint8_t *to, const uint8_t *from, int64_t size) {
    int64_t place = 0;
    if (((uintptr_t)to & 15) == 0)
        for (; place + 16 <= size; place += 16)
            _mm_stream_si128((__m128i *)(to + place), _mm_loadu_si128((const __m128i *)(from + place)));
    memcpy(to + place, from + place, (size_t)(size - place));
}
#define COPIED() _mm_sfence()
#else
static void copy(uint8_t *to, const uint8_t *from, int64_t size) { memcpy(to, from, (size_t)size); }
#define COPIED() ((void)0)
#endif

/* Copies rows (count, stride), `width` bytes of each, and `labels` to their slots. `memory` has `batch_count` batches of
   `length` bytes, in each `slot_count` pictures and, from `labels_at` on, as many labels. Returns the number of rows copied:
   it stops before a batch or slot that doesn't exist. */
int64_t scatter(const uint8_t *rows, int64_t stride, int64_t width, int64_t count, const int64_t *labels,
                const int64_t *batches, const int64_t *slots, uint8_t *memory, int64_t length, int64_t labels_at,
                int64_t batch_count, int64_t slot_count) {
    int64_t row = 0;
    for (; row < count; row++) {
        if (batches[row] < 0 || batches[row] >= batch_count || slots[row] < 0 || slots[row] >= slot_count) break;
        uint8_t *batch = memory + batches[row] * length;
        copy(batch + slots[row] * width, rows + row * stride, width);
        memcpy(batch + labels_at + slots[row] * 8, labels + row, 8);
    }
    COPIED();
    return row;
}
