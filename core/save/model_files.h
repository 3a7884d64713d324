#pragma once

#include <vector>

#include "core/model/checkpoint.h"
#include "core/save/convert.h"

namespace hfload {

/// The files of a model directory that a conversion copies: all but weights of any format and their indices,
/// config.json, hidden names, and what is no regular file; those in folders too, four levels deep. Sorted by
/// name. None for a model that was given as a single file. Symbolic links are followed within the
/// location's own folders and left out where they lead elsewhere. Throws Error(io_error) beyond 10,000
/// entries.
std::vector<CopiedFile> find_model_files(const ModelLocation& location);

}  // namespace hfload
