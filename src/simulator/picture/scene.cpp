// SPDX-License-Identifier: Apache-2.0
#include "simulator/picture/scene.h"

#include "base/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <vector>

namespace plimsoll::simulator {

namespace {

constexpr int kShapes = 5;
constexpr int kGrid = 4;  // pixels between two points at which shapes are computed

using Color = std::array<float, 3>;

std::uint64_t hash_text(std::string_view text, std::uint64_t state = 0xCBF29CE484222325ULL) {
    for (const char c : text) {  // FNV-1a
        state ^= static_cast<unsigned char>(c);
        state *= 0x100000001B3ULL;
    }
    return state;
}
// A well mixed word of a counter: the same for the same place, whatever else is drawn.
std::uint64_t mix(std::uint64_t x) {
    x ^= x >> 32U;
    x *= 0xD6E8FEB86659FD93ULL;
    x ^= x >> 32U;
    x *= 0xD6E8FEB86659FD93ULL;
    return x ^ (x >> 32U);
}

// A colour of given hue, moderately saturated.
Color hue_color(double hue, double value, double saturation) {
    Color color{};
    for (std::size_t c = 0; c < 3; ++c) {
        const double wave = 0.5 + 0.5 * std::cos(2 * M_PI * (hue - static_cast<double>(c) / 3));
        color.at(c) = static_cast<float>(value * (1 - saturation + saturation * wave));
    }
    return color;
}

struct Shape {
    float x, y;  // centre, in parts of the picture's height
    float radius;
    float wobble;  // how far it is from a circle
    float lobes;
    float phase;
    Color color;
};

struct Scene {
    Color top;
    Color bottom;
    std::array<Shape, kShapes> shapes;
    float wave_x, wave_y, wave_phase;  // a slow texture over everything
    float detail;                      // strength of the fine texture
    std::uint64_t detail_seed;
};

Scene compose(const Recipe& recipe, const Defects& defects, double aspect) {
    Random palette(hash_text(recipe.positive) ^ (hash_text(recipe.negative) >> 7U) ^
                   hash_text(recipe.model));
    // The composition follows the seed; samplers that add noise move it with the number of steps.
    Random place(mix(recipe.seed + 0x9E37ULL * static_cast<std::uint64_t>(recipe.index)));
    Random drift(mix(recipe.seed ^ (static_cast<std::uint64_t>(recipe.steps) << 40U)) ^
                 hash_text(recipe.sampler));
    const double base_hue = palette.next_unit();
    const double spread = 0.1 + 0.3 * palette.next_unit();
    Scene scene{};
    scene.top = hue_color(base_hue, 0.75, 0.5);
    scene.bottom = hue_color(base_hue + spread, 0.4, 0.55);
    const auto unit = [](Random& random) { return static_cast<float>(random.next_unit()); };
    const auto moved = [&] {
        return static_cast<float>(defects.drift * 0.06 * (drift.next_unit() - 0.5));
    };
    for (int i = 0; i < kShapes; ++i) {
        Shape& shape = scene.shapes.at(static_cast<std::size_t>(i));
        shape.x = static_cast<float>(aspect) * (0.15F + 0.7F * unit(place)) + moved();
        shape.y = 0.15F + 0.7F * unit(place) + moved();
        shape.radius = 0.08F + 0.16F * unit(place) / (1 + 0.4F * static_cast<float>(i));
        shape.phase = 6.28F * unit(place);
        shape.wobble = 0.05F + 0.25F * unit(palette);
        shape.lobes = 2 + std::floor(4 * unit(palette));
        shape.color = hue_color(base_hue + 0.5 + spread * (palette.next_unit() - 0.5),
                                0.55 + 0.4 * palette.next_unit(), 0.7);
    }
    scene.wave_x = 2 + 3 * unit(place);
    scene.wave_y = 2 + 3 * unit(place);
    scene.wave_phase = 6.28F * unit(place);
    scene.detail = 0.025F + 0.015F * unit(palette);
    scene.detail_seed = mix(recipe.seed ^ hash_text(recipe.positive));
    return scene;
}

// What the shapes say at the points of a coarse grid: the signed distance to each outline (negative
// inside) and the slow background.
struct Field {
    int columns = 0;
    int rows = 0;
    std::vector<float> values;  // [row][column][kShapes + 1]
    static constexpr int kLayers = kShapes + 1;
};

Field sample_field(const Scene& scene, int width, int height, double doubling) {
    Field field;
    field.columns = width / kGrid + 2;
    field.rows = height / kGrid + 2;
    field.values.resize(static_cast<std::size_t>(field.columns) *
                        static_cast<std::size_t>(field.rows) * Field::kLayers);
    const auto aspect = static_cast<float>(width) / static_cast<float>(height);
    // Far above the size that a model knows, it makes its subject again beside the first one.
    const float period = doubling > 0 ? std::max(0.35F, 1 - static_cast<float>(doubling)) : 2;
    float* out = field.values.data();
    for (int row = 0; row < field.rows; ++row) {
        const float y = static_cast<float>(row * kGrid) / static_cast<float>(height);
        for (int column = 0; column < field.columns; ++column) {
            const float x = static_cast<float>(column * kGrid) / static_cast<float>(height);
            const float wrapped_x = std::fmod(x, period * aspect);
            const float wrapped_y = std::fmod(y, period);
            for (const Shape& shape : scene.shapes) {
                const float dx = wrapped_x - shape.x;
                const float dy = wrapped_y - shape.y;
                const float distance = std::sqrt(dx * dx + dy * dy);
                const float angle = std::atan2(dy, dx);
                const float outline =
                    shape.radius * (1 + shape.wobble * std::sin(shape.lobes * angle + shape.phase));
                *out++ = distance - outline;
            }
            *out++ = y + 0.12F * std::sin(scene.wave_x * x + scene.wave_phase) *
                             std::cos(scene.wave_y * y);
        }
    }
    return field;
}

struct Look {
    float edge;  // width of an outline, in parts of the height
    float detail;
    float contrast;
    float saturation;
    float wash;
    float noise;
};

float smooth_step(float edge, float distance) {
    const float t = std::clamp(0.5F - distance / edge, 0.0F, 1.0F);
    return t * t * (3 - 2 * t);
}

// Fine texture: smooth between the points of a lattice of `cell` pixels, the same for the same
// place.
float lattice(std::uint64_t seed, int x, int y, int cell) {
    const auto corner = [&](int cx, int cy) {
        return static_cast<float>(mix(seed ^ (static_cast<std::uint64_t>(cx) << 32U) ^
                                      static_cast<std::uint32_t>(cy)) >>
                                  40U) *
                   0x1.0p-23F -
               1;
    };
    const int cx = x / cell;
    const int cy = y / cell;
    const float fx = static_cast<float>(x % cell) / static_cast<float>(cell);
    const float fy = static_cast<float>(y % cell) / static_cast<float>(cell);
    const float top = corner(cx, cy) * (1 - fx) + corner(cx + 1, cy) * fx;
    const float bottom = corner(cx, cy + 1) * (1 - fx) + corner(cx + 1, cy + 1) * fx;
    return top * (1 - fy) + bottom * fy;
}

// The lattice of one row of pixels, with its corners drawn once.
void lattice_row(std::uint64_t seed, int y, int cell, std::vector<float>& row) {
    const auto width = static_cast<int>(row.size());
    float left = lattice(seed, 0, y, cell);
    for (int x = 0; x < width; x += cell) {
        const float right = lattice(seed, x + cell, y, cell);
        const int end = std::min(cell, width - x);
        for (int i = 0; i < end; ++i)
            row[static_cast<std::size_t>(x) + static_cast<std::size_t>(i)] =
                left + (right - left) * static_cast<float>(i) / static_cast<float>(cell);
        left = right;
    }
}

std::uint8_t to_byte(float value) {
    constexpr float kHalf = 0.5F;  // rounds: lround costs a call a channel
    return static_cast<std::uint8_t>(std::clamp(value, 0.0F, 1.0F) * 255 + kHalf);
}

void draw_row(const Scene& scene, const Field& field, const Look& look, int y, int width,
              const std::vector<float>& detail, const std::vector<float>& blotches,
              std::uint64_t noise_seed, std::uint8_t* out) {
    const int row = y / kGrid;
    const float part_y = static_cast<float>(y % kGrid) / kGrid;
    const std::size_t stride = static_cast<std::size_t>(field.columns) * Field::kLayers;
    const float* const upper = &field.values[static_cast<std::size_t>(row) * stride];
    const float* const lower = upper + stride;
    for (int x = 0; x < width; ++x) {
        const float part_x = static_cast<float>(x % kGrid) / kGrid;
        const std::size_t at = static_cast<std::size_t>(x / kGrid) * Field::kLayers;
        const auto layer = [&](int index) {
            const std::size_t i = at + static_cast<std::size_t>(index);
            const float a = upper[i] + (upper[i + Field::kLayers] - upper[i]) * part_x;
            const float b = lower[i] + (lower[i + Field::kLayers] - lower[i]) * part_x;
            return a + (b - a) * part_y;
        };
        const float depth = std::clamp(layer(kShapes), 0.0F, 1.0F);
        Color color{};
        for (std::size_t c = 0; c < 3; ++c)
            color.at(c) = scene.top.at(c) + (scene.bottom.at(c) - scene.top.at(c)) * depth;
        for (int i = kShapes - 1; i >= 0; --i) {
            const float distance = layer(i);
            if (distance > look.edge) continue;
            const Shape& shape = scene.shapes.at(static_cast<std::size_t>(i));
            const float cover = smooth_step(look.edge, distance);
            const float shade = 1 - 0.5F * std::clamp(1 + distance / shape.radius, 0.0F, 1.0F);
            for (std::size_t c = 0; c < 3; ++c)
                color.at(c) += (shape.color.at(c) * shade - color.at(c)) * cover;
        }
        const float texture = look.detail * detail[static_cast<std::size_t>(x)];
        const float grey = (color[0] + color[1] + color[2]) / 3;
        std::uint64_t bits = mix(noise_seed ^ static_cast<std::uint64_t>(x) << 24U);
        for (std::size_t c = 0; c < 3; ++c) {
            float value = grey + (color.at(c) - grey) * look.saturation + texture;
            value = 0.5F + (value - 0.5F) * look.contrast;
            value += (0.55F - value) * 0.6F * look.wash;
            // Two uniform numbers: a triangle of standard deviation 1, near enough to a bell.
            const float grain = (static_cast<float>(bits & 0x3FFU) +
                                 static_cast<float>((bits >> 10U) & 0x3FFU) - 1023) /
                                417.8F;
            bits >>= 20U;
            value += look.noise * (0.8F * grain + 0.6F * blotches[static_cast<std::size_t>(x)]);
            *out++ = to_byte(value);
        }
    }
}

Pixels draw(const Recipe& recipe, const Defects& defects, int width, int height, double noise) {
    const Scene scene =
        compose(recipe, defects, static_cast<double>(width) / static_cast<double>(height));
    const Field field = sample_field(scene, width, height, defects.doubling);
    const double blur = 1 + 12 * defects.softness + 5 * defects.wash;
    const Look look{.edge = static_cast<float>(0.004 * blur),
                    .detail = scene.detail / static_cast<float>(blur * blur),
                    .contrast = static_cast<float>(defects.contrast),
                    .saturation = static_cast<float>(defects.saturation),
                    .wash = static_cast<float>(defects.wash),
                    .noise = static_cast<float>(noise)};
    Pixels pixels = make_pixels(width, height);
    std::vector<float> detail(static_cast<std::size_t>(width));
    std::vector<float> blotches(static_cast<std::size_t>(width));
    const std::uint64_t noise_seed =
        mix(recipe.seed + 77 + static_cast<std::uint64_t>(recipe.index));
    for (int y = 0; y < height; ++y) {
        lattice_row(scene.detail_seed, y, 5, detail);
        lattice_row(noise_seed, y, 8, blotches);  // a latent cell is 8 x 8 pixels
        draw_row(scene, field, look, y, width, detail, blotches,
                 noise_seed ^ mix(static_cast<std::uint64_t>(y)),
                 &pixels.rgb[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) * 3]);
    }
    return pixels;
}

// Sampling that begins with a picture keeps the more of it, the lower the denoise.
// NOLINTNEXTLINE(misc-no-recursion): as deep as samplers are chained in a prompt
Pixels blend_start(Pixels drawn, const Recipe& recipe) {
    if (!recipe.begins_with_something() || recipe.denoise >= 1) return drawn;
    const Pixels start =
        recipe.before ? render_scene(*recipe.before, drawn.width, drawn.height)
                      : resize(*recipe.start, drawn.width, drawn.height, Resampling::Bilinear);
    const double kept = 1 - recipe.denoise;
    for (std::size_t i = 0; i < drawn.rgb.size(); ++i)
        drawn.rgb[i] =
            static_cast<std::uint8_t>(std::lround(start.rgb[i] * kept + drawn.rgb[i] * (1 - kept)));
    return drawn;
}

Defects defects_of(const Recipe& recipe, int width, int height) {
    return true_defects({.width = recipe.composed_width > 0 ? recipe.composed_width : width,
                         .height = recipe.composed_height > 0 ? recipe.composed_height : height,
                         .steps = recipe.steps,
                         .cfg = recipe.cfg,
                         .denoise = recipe.begins_with_something() ? recipe.denoise : 1,
                         .sampler = recipe.sampler,
                         .scheduler = recipe.scheduler,
                         .native_side = recipe.native_side});
}

}  // namespace

// NOLINTNEXTLINE(misc-no-recursion)
Pixels render_scene(const Recipe& recipe, int width, int height) {
    if (recipe.steps == 0) {
        if (recipe.before) return render_scene(*recipe.before, width, height);
        if (recipe.start) return resize(*recipe.start, width, height, Resampling::Bilinear);
        // An empty latent decodes to a flat brownish grey.
        Pixels flat = make_pixels(width, height);
        for (std::size_t i = 0; i < flat.count(); ++i) {
            flat.rgb[i * 3] = 128;
            flat.rgb[i * 3 + 1] = 120;
            flat.rgb[i * 3 + 2] = 112;
        }
        return flat;
    }
    const Defects defects = defects_of(recipe, width, height);
    return blend_start(draw(recipe, defects, width, height, defects.noise + recipe.left_over_noise),
                       recipe);
}

Pixels render_preview(const Recipe& recipe, int width, int height, int done, int total) {
    const Defects defects = defects_of(recipe, width, height);
    const double left = 1 - static_cast<double>(done) / std::max(1, total);
    return blend_start(draw(recipe, defects, width, height,
                            defects.noise + 0.6 * left * left + recipe.left_over_noise),
                       recipe);
}

}  // namespace plimsoll::simulator
