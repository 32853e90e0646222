// SPDX-License-Identifier: Apache-2.0
//
// The opcodes of Python's pickles. Private to this folder.
#pragma once

namespace plimsoll::modelfile {

// Opcodes by the names that Python's Lib/pickletools.py gives them.
enum class Op : unsigned char {
    // numbers and constants
    None = 'N',
    NewTrue = 0x88,
    NewFalse = 0x89,
    Int = 'I',
    Long = 'L',
    Float = 'F',
    BinInt = 'J',
    BinInt1 = 'K',
    BinInt2 = 'M',
    Long1 = 0x8a,
    Long4 = 0x8b,
    BinFloat = 'G',
    // text and bytes
    String = 'S',
    BinString = 'T',
    ShortBinString = 'U',
    Unicode = 'V',
    BinUnicode = 'X',
    ShortBinUnicode = 0x8c,
    BinUnicode8 = 0x8d,
    BinBytes = 'B',
    ShortBinBytes = 'C',
    BinBytes8 = 0x8e,
    ByteArray8 = 0x96,
    // containers
    EmptyList = ']',
    List = 'l',
    Append = 'a',
    Appends = 'e',
    EmptyTuple = ')',
    Tuple = 't',
    Tuple1 = 0x85,
    Tuple2 = 0x86,
    Tuple3 = 0x87,
    EmptyDict = '}',
    Dict = 'd',
    SetItem = 's',
    SetItems = 'u',
    EmptySet = 0x8f,
    AddItems = 0x90,
    FrozenSet = 0x91,
    // stack, memo, framing
    Proto = 0x80,
    Frame = 0x95,
    Stop = '.',
    Mark = '(',
    Pop = '0',
    PopMark = '1',
    Dup = '2',
    Put = 'p',
    BinPut = 'q',
    LongBinPut = 'r',
    Memoize = 0x94,
    Get = 'g',
    BinGet = 'h',
    LongBinGet = 'j',
    // objects
    Global = 'c',
    StackGlobal = 0x93,
    Reduce = 'R',
    NewObj = 0x81,
    NewObjEx = 0x92,
    Build = 'b',
    Obj = 'o',
    Inst = 'i',
    BinPersId = 'Q',
};

}  // namespace plimsoll::modelfile
