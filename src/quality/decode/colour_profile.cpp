// SPDX-License-Identifier: Apache-2.0
#include "quality/decode/colour_profile.h"

#include "base/check.h"

#include <fmt/format.h>
#include <lcms2.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <type_traits>
#include <vector>

namespace plimsoll::quality {

namespace {

struct Close {
    void operator()(cmsContext context) const { cmsDeleteContext(context); }
};
struct CloseProfile {
    void operator()(void* profile) const { cmsCloseProfile(profile); }
};
struct CloseTransform {
    void operator()(void* transform) const { cmsDeleteTransform(transform); }
};
struct FreeCurve {
    void operator()(cmsToneCurve* curve) const { cmsFreeToneCurve(curve); }
};
using Context = std::unique_ptr<std::remove_pointer_t<cmsContext>, Close>;
using Profile = std::unique_ptr<void, CloseProfile>;
using Transform = std::unique_ptr<void, CloseTransform>;

void stay_silent(cmsContext, cmsUInt32Number, const char*) {}

class LcmsTransform final : public ColourTransform {
  public:
    LcmsTransform(Context context, Transform transform, std::string name)
        : context_(std::move(context)), transform_(std::move(transform)), name_(std::move(name)) {}

    void convert(std::span<const std::uint16_t> from, std::span<std::uint16_t> into,
                 std::size_t pixels) const override {
        CHECK(into.size() >= pixels * 3);
        cmsDoTransform(transform_.get(), from.data(), into.data(),
                       static_cast<cmsUInt32Number>(pixels));
    }
    [[nodiscard]] const std::string& name() const override { return name_; }

  private:
    Context context_;  // outlives what was made in it
    Transform transform_;
    std::string name_;
};

std::string description_of(cmsHPROFILE profile) {
    std::array<char, 128> text{};
    cmsGetProfileInfoASCII(profile, cmsInfoDescription, "en", "US", text.data(), text.size());
    std::string name(text.data());
    // It is shown on a terminal.
    std::erase_if(name, [](char c) { return c < ' ' || c > '~'; });
    return name.empty() ? "a profile without a name" : name;
}

cmsUInt32Number format_of(const Raster& raster) {
    switch (raster.model) {
        case ColourModel::Grey:
            return TYPE_GRAY_16;
        case ColourModel::Rgb:
            return TYPE_RGB_16;
        case ColourModel::Cmyk:
            return TYPE_CMYK_16;
    }
    CHECK(false);
}

cmsColorSpaceSignature space_of(const Raster& raster) {
    switch (raster.model) {
        case ColourModel::Grey:
            return cmsSigGrayData;
        case ColourModel::Rgb:
            return cmsSigRgbData;
        case ColourModel::Cmyk:
            return cmsSigCmykData;
    }
    CHECK(false);
}

// Whether the transform moves no colour of a 9 x 9 x 9 grid (or of 33 greys) by half of a level of
// 255.
bool changes_nothing(const LcmsTransform& transform, ColourModel model) {
    if (model == ColourModel::Cmyk) return false;
    std::vector<std::uint16_t> from;
    std::vector<std::uint16_t> expected;
    constexpr std::array<int, 2> kSteps{33, 9};
    const int steps = model == ColourModel::Grey ? kSteps[0] : kSteps[1];
    const auto level = [steps](int i) {
        return static_cast<std::uint16_t>(65535 * i / (steps - 1));
    };
    if (model == ColourModel::Grey)
        for (int i = 0; i < steps; ++i) {
            from.push_back(level(i));
            expected.insert(expected.end(), 3, level(i));
        }
    else
        for (int r = 0; r < steps; ++r)
            for (int g = 0; g < steps; ++g)
                for (int b = 0; b < steps; ++b)
                    from.insert(from.end(), {level(r), level(g), level(b)});
    if (expected.empty()) expected = from;
    std::vector<std::uint16_t> into(expected.size());
    transform.convert(from, into, expected.size() / 3);
    for (std::size_t i = 0; i < into.size(); ++i)
        if (std::abs(int{into[i]} - int{expected[i]}) > kSamplesPerLevel / 2) return false;
    return true;
}

// A gamma of 1/2.2 stands for sRGB's curve (PNG's own advice for readers that know only one), and
// programs write it without meaning more.
bool is_srgb_gamma(double gamma) {
    return std::abs(gamma - 0.45455) < 0.005;
}

Profile calibrated_profile(cmsContext context, const Calibration& calibration, ColourModel model) {
    // sRGB's curve, IEC 61966-2-1, as Little CMS writes it: type 4 of its parametric curves.
    constexpr std::array<double, 5> kSrgb{2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045};
    const std::unique_ptr<cmsToneCurve, FreeCurve> curve(
        is_srgb_gamma(calibration.gamma) ? cmsBuildParametricToneCurve(context, 4, kSrgb.data())
                                         : cmsBuildGamma(context, 1 / calibration.gamma));
    const Calibration::Primaries srgb{{0.3127, 0.3290}, {0.64, 0.33}, {0.30, 0.60}, {0.15, 0.06}};
    const Calibration::Primaries p = calibration.primaries.value_or(srgb);
    const cmsCIExyY white{p.white.x, p.white.y, 1};
    if (model == ColourModel::Grey)
        return Profile(cmsCreateGrayProfileTHR(context, &white, curve.get()));
    const cmsCIExyYTRIPLE triple{
        {p.red.x, p.red.y, 1}, {p.green.x, p.green.y, 1}, {p.blue.x, p.blue.y, 1}};
    const std::array<cmsToneCurve*, 3> curves{curve.get(), curve.get(), curve.get()};
    return Profile(cmsCreateRGBProfileTHR(context, &white, &triple, curves.data()));
}

// Nonsense is no calibration.
bool says_something(const Calibration& calibration) {
    const auto point = [](const Calibration::Point& p) {
        return p.x > 0 && p.y > 0 && p.x + p.y <= 1;
    };
    if (!(calibration.gamma > 0.05 && calibration.gamma < 5)) return false;
    if (!calibration.primaries) return !is_srgb_gamma(calibration.gamma);
    const Calibration::Primaries& p = *calibration.primaries;
    return point(p.white) && point(p.red) && point(p.green) && point(p.blue);
}

}  // namespace

Result<std::unique_ptr<ColourTransform>> ColourTransform::create(const Raster& raster) {
    const bool has_calibration = raster.calibration && says_something(*raster.calibration);
    if (raster.profile.empty() && !has_calibration) return nullptr;
    Context context(cmsCreateContext(nullptr, nullptr));
    CHECK(context != nullptr);
    cmsSetLogErrorHandlerTHR(context.get(), stay_silent);
    Profile source;
    if (raster.profile.empty())
        source = calibrated_profile(context.get(), *raster.calibration, raster.model);
    else
        source.reset(cmsOpenProfileFromMemTHR(context.get(), raster.profile.data(),
                                              static_cast<cmsUInt32Number>(raster.profile.size())));
    if (source == nullptr) return fail(Errc::Corrupt, "its colour profile cannot be read");
    const std::string name =
        raster.profile.empty() ? "PNG's gamma and primaries" : description_of(source.get());
    if (cmsGetColorSpace(source.get()) != space_of(raster))
        return fail(Errc::Corrupt,
                    fmt::format("its colour profile ({}) is for another kind of colours", name));
    const Profile target(cmsCreate_sRGBProfileTHR(context.get()));
    CHECK(target != nullptr);
    Transform transform(cmsCreateTransformTHR(
        context.get(), source.get(), format_of(raster), target.get(), TYPE_RGB_16,
        INTENT_RELATIVE_COLORIMETRIC, cmsFLAGS_BLACKPOINTCOMPENSATION | cmsFLAGS_NOCACHE));
    if (transform == nullptr)
        return fail(Errc::Corrupt, fmt::format("its colour profile ({}) cannot be used", name));
    auto out = std::make_unique<LcmsTransform>(std::move(context), std::move(transform), name);
    if (changes_nothing(*out, raster.model)) return nullptr;
    return out;
}

}  // namespace plimsoll::quality
