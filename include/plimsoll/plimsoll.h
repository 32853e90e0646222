// SPDX-License-Identifier: Apache-2.0
//
// All of the library.
#pragma once
#include <plimsoll/error.h>
#include <plimsoll/forecast.h>
#include <plimsoll/generate.h>
#include <plimsoll/job.h>
#include <plimsoll/options.h>
#include <plimsoll/presets.h>
#include <plimsoll/quality_tester.h>
#include <plimsoll/resource_manager.h>
#include <plimsoll/settings.h>
#include <plimsoll/version.h>
