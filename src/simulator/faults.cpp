// SPDX-License-Identifier: Apache-2.0
#include "simulator/faults.h"

#include <algorithm>
#include <utility>

namespace plimsoll::simulator {

void FaultBoard::set(Faults faults) {
    const std::lock_guard lock(mutex_);
    faults_ = std::move(faults);
    progress_ = 0;
    spilled_ = creeps_ = overheats_ = false;
}

Faults FaultBoard::get() const {
    const std::lock_guard lock(mutex_);
    return faults_;
}

std::optional<RequestFault> FaultBoard::take_request(std::string_view path) {
    const std::lock_guard lock(mutex_);
    for (RequestFault& fault : faults_.requests) {
        if (fault.times == 0 || !path.starts_with(fault.path_prefix)) continue;
        if (fault.times > 0) --fault.times;
        return fault;
    }
    return std::nullopt;
}

bool FaultBoard::take_oom(const std::string& node_id) {
    const std::lock_guard lock(mutex_);
    if (faults_.oom_at_node != node_id || faults_.oom_times == 0) return false;
    if (faults_.oom_times > 0) --faults_.oom_times;
    return true;
}

void FaultBoard::begin_job(double now) {
    const std::lock_guard lock(mutex_);
    job_began_ = now;
    progress_ = 0;
    creeps_ = overheats_ = false;
}

void FaultBoard::tick(double now, GpuMemory& memory) {
    const std::lock_guard lock(mutex_);
    std::erase_if(faults_.memory, [&](const MemoryFault& fault) {
        if (now - job_began_ < fault.at_seconds) return false;
        memory.take_outside(fault.bytes);
        return true;
    });
}

double FaultBoard::drag(const GpuMemory& memory) const {
    const std::lock_guard lock(mutex_);
    const bool drags = (faults_.drag_at_progress && progress_ >= *faults_.drag_at_progress) ||
                       (spilled_ && memory.has_spilled());
    return drags ? faults_.drag : 1;
}

bool FaultBoard::creep(GpuMemory& memory) const {
    const std::lock_guard lock(mutex_);
    return !creeps_ || memory.leave_behind(faults_.creep_bytes);
}

double FaultBoard::drift(const std::string& node_id) const {
    const std::lock_guard lock(mutex_);
    return faults_.drift_at_node.value_or(node_id) == node_id ? faults_.drift : 1;
}

std::optional<double> FaultBoard::overheat() const {
    const std::lock_guard lock(mutex_);
    return overheats_ ? std::optional(faults_.overheat_c) : std::nullopt;
}

bool FaultBoard::count_progress(GpuMemory& memory) {
    {
        const std::lock_guard lock(mutex_);
        ++progress_;
        if (faults_.spill_at_progress && progress_ >= *faults_.spill_at_progress) {
            faults_.spill_at_progress.reset();
            spilled_ = true;
            memory.spill(faults_.spill_bytes);
        }
        const auto reaches = [&](std::optional<int>& at) {
            if (!at || progress_ < *at) return false;
            at.reset();
            return true;
        };
        creeps_ = reaches(faults_.creep_at_progress) || creeps_;
        overheats_ = reaches(faults_.overheat_at_progress) || overheats_;
        if (!faults_.restart_at_progress || progress_ < *faults_.restart_at_progress) return false;
        faults_.restart_at_progress.reset();
    }
    die();
    return true;
}

bool FaultBoard::dies_after(const std::string& node_id) {
    {
        const std::lock_guard lock(mutex_);
        if (faults_.restart_after_node != node_id) return false;
        faults_.restart_after_node.reset();
    }
    die();
    return true;
}

void FaultBoard::die() {
    dead_ = true;
    if (on_restart) on_restart();
}

}  // namespace plimsoll::simulator
