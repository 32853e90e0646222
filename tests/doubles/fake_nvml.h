// SPDX-License-Identifier: Apache-2.0
//
// What the fake libnvidia-ml.so.1 answers, for tests in the same process: they open the library,
// ask `fake_nvml_state` for this struct and write into it. One thread.
#pragma once
#include <array>
#include <cstdint>

struct FakeNvmlProcess {
    unsigned pid = 0;
    std::uint64_t used_bytes = 0;
};

struct FakeNvmlCard {
    const char* name = "NVIDIA GeForce RTX 3050 6GB Laptop GPU";
    const char* uuid = "GPU-6f2c1a52-0000-0000-0000-000000000001";
    const char* bus_id = "00000000:01:00.0";
    std::uint64_t total = 6441926656;
    std::uint64_t used = 1073741824;
    std::uint64_t reserved = 268435456;
    unsigned temperature = 61;
    std::array<unsigned, 8> thresholds{105, 102, 0, 87, 0, 75, 0, 0};  // 0: not supported
    unsigned power_mw = 55000;
    unsigned power_limit_mw = 70000;
    unsigned clock_mhz = 1470;
    unsigned utilization = 97;
    std::uint64_t reasons = 0x4;
    int memory_temperature = 0;           // 0: not supported
    std::array<int, 3> margins{0, 0, 0};  // shutdown, slowdown, operating; all 0: not supported
    std::array<FakeNvmlProcess, 4> processes{};
    unsigned process_count = 0;
    int code = 0;  // what every call about the card answers
};

struct FakeNvml {
    int init_code = 0;
    bool memory_v2 = true;  // false: the driver refuses the versioned struct
    unsigned count = 1;
    std::array<FakeNvmlCard, 4> cards{};
    // How long a call about a card computes, and how long a list of processes does.
    unsigned call_us = 0;
    unsigned list_us = 0;
    // Observed.
    int calls = 0;  // of any kind but init and shutdown
    int inits = 0;
    int shutdowns = 0;
};
