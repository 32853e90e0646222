# One folder of src/ = one static library plimsoll_<folder> = one namespace plimsoll::<folder>.
#
# plimsoll_folder(NAME [LINK target...])
#   sources   every *.cpp below the folder but *_test.cpp
#   links     the folders that tools/layers.txt allows it, and the third-party targets after LINK
#   tests     every *_test.cpp below the folder, as one program test_<NAME>, discovered by ctest
set(PLIMSOLL_LAYERS_FILE ${CMAKE_SOURCE_DIR}/tools/layers.txt)
set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PLIMSOLL_LAYERS_FILE})

function(plimsoll_layer_of name out)
  file(STRINGS ${PLIMSOLL_LAYERS_FILE} lines REGEX "^${name}:")
  list(LENGTH lines count)
  if(NOT count EQUAL 1)
    message(FATAL_ERROR "tools/layers.txt must have exactly one line for ${name}")
  endif()
  string(REGEX REPLACE "^${name}: *" "" deps "${lines}")
  separate_arguments(deps)
  set(${out} ${deps} PARENT_SCOPE)
endfunction()

function(plimsoll_folder name)
  cmake_parse_arguments(ARG "" "" "LINK;TEST_LINK" ${ARGN})
  set(dir ${CMAKE_SOURCE_DIR}/src/${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${dir}/*.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  if(NOT sources)
    set(sources ${CMAKE_SOURCE_DIR}/cmake/empty.cpp)
  endif()
  add_library(plimsoll_${name} STATIC ${sources})
  target_include_directories(plimsoll_${name} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/src> $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>)
  plimsoll_layer_of(${name} deps)
  foreach(dep IN LISTS deps)
    target_link_libraries(plimsoll_${name} PUBLIC plimsoll_${dep})
  endforeach()
  target_link_libraries(plimsoll_${name} PUBLIC plimsoll_options ${ARG_LINK})
  if(tests AND PLIMSOLL_TESTS)
    add_executable(test_${name} ${tests})
    target_link_libraries(test_${name} PRIVATE plimsoll_${name} ${ARG_TEST_LINK} GTest::gmock GTest::gtest_main)
    target_compile_definitions(test_${name} PRIVATE PLIMSOLL_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data")
    gtest_discover_tests(test_${name} TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 120)
  endif()
endfunction()

# plimsoll_embed(target symbol file): `std::string_view plimsoll::embedded::symbol()` holds the file's bytes.
# The generated source is built without ccache, whose 4.7 does not see that only an #embed'ed file changed.
function(plimsoll_embed target symbol file)
  set(out ${CMAKE_BINARY_DIR}/embed/${symbol}.cpp)
  file(GENERATE OUTPUT ${out} CONTENT
"#include <string_view>
namespace {
constexpr unsigned char bytes[] = {
#embed \"${file}\"
};
}
namespace plimsoll::embedded {
std::string_view ${symbol}() { return {reinterpret_cast<const char*>(bytes), sizeof bytes}; }
}
")
  add_library(embed_${symbol} OBJECT ${out})
  set_target_properties(embed_${symbol} PROPERTIES CXX_COMPILER_LAUNCHER "" POSITION_INDEPENDENT_CODE ON)
  set_source_files_properties(${out} PROPERTIES OBJECT_DEPENDS ${file} COMPILE_OPTIONS "-Wno-c23-extensions")
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:embed_${symbol}>)
endfunction()

# plimsoll_embed_folder(target symbol dir): `std::span<const std::pair<std::string_view, std::string_view>>
# plimsoll::embedded::symbol()` holds every file below dir ("/index.html", its bytes) and, of texts, the gzip form beside it
# ("/index.html.gz"). Without the folder the table is empty.
function(plimsoll_embed_folder target symbol dir)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS RELATIVE ${dir} ${dir}/*)
  set(arrays "")
  set(rows "")
  set(depends "")
  set(number 0)
  foreach(file IN LISTS files)
    set(paths ${dir}/${file})
    set(names /${file})
    if(file MATCHES "\\.(html|js|css|svg|json|txt|webmanifest)$")
      set(packed ${CMAKE_BINARY_DIR}/embed/${symbol}/${file}.gz)
      add_custom_command(OUTPUT ${packed} DEPENDS ${dir}/${file} VERBATIM
        COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/gzip_file.py ${dir}/${file} ${packed})
      list(APPEND paths ${packed})
      list(APPEND names /${file}.gz)
    endif()
    foreach(path name IN ZIP_LISTS paths names)
      string(APPEND arrays "alignas(16) constexpr unsigned char file_${number}[] = {\n#embed \"${path}\" if_empty(0)\n};\n")
      string(APPEND rows "    {\"${name}\", {reinterpret_cast<const char*>(file_${number}), sizeof file_${number}}},\n")
      list(APPEND depends ${path})
      math(EXPR number "${number} + 1")
    endforeach()
  endforeach()
  set(out ${CMAKE_BINARY_DIR}/embed/${symbol}.cpp)
  file(GENERATE OUTPUT ${out} CONTENT
"#include <span>
#include <string_view>
#include <utility>
#include <vector>
namespace {
using File = std::pair<std::string_view, std::string_view>;
${arrays}
}
namespace plimsoll::embedded {
std::span<const File> ${symbol}() {
  static const std::vector<File> files = {
${rows}  };
  return files;
}
}
")
  add_library(embed_${symbol} OBJECT ${out})
  set_target_properties(embed_${symbol} PROPERTIES CXX_COMPILER_LAUNCHER "" POSITION_INDEPENDENT_CODE ON)
  set_source_files_properties(${out} PROPERTIES OBJECT_DEPENDS "${depends}" COMPILE_OPTIONS "-Wno-c23-extensions")
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:embed_${symbol}>)
endfunction()
