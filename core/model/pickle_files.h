#pragma once

#include <string>
#include <vector>

#include "core/model/checkpoint.h"

namespace hfload {

/// The files that a scan for pickles looks into: `model` itself where it is a file, else the files of the
/// model directory, and of the folders in it, that may hold a pickle by their name or their first bytes;
/// sorted. Throws Error(not_found, io_error), Error(unsafe_path) as locate_model.
std::vector<std::string> find_pickle_files(const std::string& model, const LocateOptions& options);

}  // namespace hfload
