// SPDX-License-Identifier: Apache-2.0
//
// VAEs of which one kind was published: no number of theirs varies.
#pragma once

namespace plimsoll::modelfile {

struct CosmosVaeConfig {};        // Cosmos 1
struct MageVaeConfig {};          // Mage-Flow
struct MiniMaxAudioVaeConfig {};  // the sound of MiniMax H3
struct MiniMaxMusicVaeConfig {};  // MiniMax Music 3
struct PixelSpaceVaeConfig {};    // of networks that make pixels: hands on what it is given
struct Seedvr2VaeConfig {};       // SeedVR2
struct TemporalVaeConfig {};      // Stable Video Diffusion

}  // namespace plimsoll::modelfile
