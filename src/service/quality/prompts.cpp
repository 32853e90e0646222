// SPDX-License-Identifier: Apache-2.0
#include "service/quality/prompts.h"

#include "base/text.h"

#include <array>
#include <cstddef>
#include <string>

namespace plimsoll::service {
namespace {

// A full test's intervals rest on prompts, not on seeds: sixteen leave a seventh less width than
// eight. The first eight, which are what a quick test draws, show each kind of defect once.
constexpr std::size_t kPrompts = 16;

constexpr std::array<std::string_view, kPrompts> kPhoto{
    "portrait of an old fisherman, window light, wrinkled skin",
    "a crowded street market at noon, many people, bright awnings",
    "a red fox standing in fresh snow, forest behind it",
    "a glass of water and a silver spoon on a wooden table",
    "a mountain lake at dawn, mist, clear sky",
    "a narrow alley at night, wet stones, one lantern",
    "a bowl of fruit, grapes, peaches and a cut lemon",
    "an old library, shelves full of books, a spiral staircase",
    "close-up of a honeybee on a lavender flower",
    "a woman laughing in the rain, neon signs behind her",
    "a white porcelain teapot on a white tablecloth, soft shadows",
    "a city skyline at dusk, many lit windows",
    "a knitted woollen sweater folded on a chair",
    "a sailing boat on a rough sea, spray, dark clouds",
    "hands of a potter shaping wet clay on a wheel",
    "a birch forest in autumn, yellow leaves on the ground",
};
constexpr std::array<std::string_view, kPrompts> kAnime{
    "a girl with short blue hair, smiling, upper body",
    "a knight in silver armour, full body, standing",
    "a small dragon, side view, wings open",
    "a witch with a large hat and a wooden staff",
    "a boy running, scarf in the wind, full body",
    "a black cat with green eyes, sitting",
    "a samurai drawing his sword, dynamic pose",
    "a robot with a round head, waving",
    "two sisters under one umbrella, evening street",
    "an archer drawing a bow, side view",
    "a wizard's room, shelves with bottles, warm candle light",
    "a fox spirit with nine tails, front view",
    "a pilot in a cockpit, many instruments",
    "a treasure chest, open, gold coins",
    "a dancer with long ribbons, night sky",
    "a village by a river, cherry trees in bloom",
};
constexpr std::array<std::string_view, kPrompts> kCartoon{
    "a cheerful farmer with a straw hat holding a carrot",
    "a baby elephant in a garden, flowers around",
    "a wooden house on a hill, smoke from the chimney",
    "a pirate captain with a parrot on the shoulder",
    "a little girl reading a book under a tree",
    "a grumpy owl with glasses on a branch",
    "a toy train crossing a bridge",
    "a baker in front of an oven, loaves of bread",
    "two mice in a rowing boat on a pond",
    "an astronaut planting a flag on a small moon",
    "a snowman with a scarf beside a lamp post",
    "a fisherman asleep, a fish looking at him",
    "a kitchen with copper pots, morning sun",
    "a bear riding a bicycle down a hill",
    "a market stall with melons and pumpkins",
    "a lighthouse in a storm, waves, a tiny boat",
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
