// SPDX-License-Identifier: Apache-2.0
#include "service/quality/prompts.h"

#include "base/text.h"

#include <array>
#include <string>

namespace plimsoll::service {
namespace {

constexpr std::array<std::string_view, 8> kPhoto{
    "portrait of an old fisherman, window light, wrinkled skin",
    "a crowded street market at noon, many people, bright awnings",
    "a red fox standing in fresh snow, forest behind it",
    "a glass of water and a silver spoon on a wooden table",
    "a mountain lake at dawn, mist, clear sky",
    "a narrow alley at night, wet stones, one lantern",
    "a bowl of fruit, grapes, peaches and a cut lemon",
    "an old library, shelves full of books, a spiral staircase",
};
constexpr std::array<std::string_view, 8> kAnime{
    "a girl with short blue hair, smiling, upper body",
    "a knight in silver armour, full body, standing",
    "a small dragon, side view, wings open",
    "a witch with a large hat and a wooden staff",
    "a boy running, scarf in the wind, full body",
    "a black cat with green eyes, sitting",
    "a samurai drawing his sword, dynamic pose",
    "a robot with a round head, waving",
};
constexpr std::array<std::string_view, 8> kCartoon{
    "a cheerful farmer with a straw hat holding a carrot",
    "a baby elephant in a garden, flowers around",
    "a wooden house on a hill, smoke from the chimney",
    "a pirate captain with a parrot on the shoulder",
    "a little girl reading a book under a tree",
    "a grumpy owl with glasses on a branch",
    "a toy train crossing a bridge",
    "a baker in front of an oven, loaves of bread",
};

bool mentions(const advisor::ModelProfile& profile, std::string_view word) {
    return to_lower_ascii(profile.name).contains(word) ||
           to_lower_ascii(profile.checkpoint).contains(word) ||
           to_lower_ascii(profile.style_words).contains(word);
}

}  // namespace

std::span<const std::string_view> default_prompts(const advisor::ModelProfile& profile) {
    for (const std::string_view word : {"anime", "sprite", "animagine", "pony", "manga"})
        if (mentions(profile, word)) return kAnime;
    for (const std::string_view word : {"cartoon", "toon", "pixar"})
        if (mentions(profile, word)) return kCartoon;
    return kPhoto;
}

}  // namespace plimsoll::service
