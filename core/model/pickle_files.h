#pragma once

#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/model/checkpoint.h"

namespace hfload {

/// The files that a scan for pickles looks into.
struct PickleFiles {
  std::vector<std::string> files;   ///< sorted
  std::vector<std::string> others;  ///< named by the user, and no pickle by name or content
  std::vector<Error> faults;        ///< folders and files below the model that cannot be read
};

/// What a file is called where its name says whether it is a pickle: its path; nothing for the files "._NAME"
/// and
/// ".DS_Store" of macOS, which are named after others.
std::string name_for_scan(const std::string& path);

/// `model` itself where it is a file, else the files of the model directory and of the folders in it, at any
/// depth: those that may hold a pickle by their name (has_pickle_name of name_for_scan) or by their content
/// (holds_pickles). Links
/// to files are followed, links to folders below the model are not. Throws Error(not_found, unsafe_path) as
/// locate_model, Error(io_error), and Error(unsupported_format) for more than 100,000 such files.
PickleFiles find_pickle_files(const std::string& model, const LocateOptions& options);

}  // namespace hfload
