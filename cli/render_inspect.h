#pragma once

#include <string>

#include "cli/inspection.h"
#include "cli/options.h"
#include "core/base/text_sink.h"

namespace hfload::cli {

/// For people, legible at 80 columns.
void write_inspection(const Inspection& inspection, const InspectCommand& command, const TextSink& sink);

/// The document hfload.inspect/1.
void write_inspection_json(const Inspection& inspection, const InspectCommand& command, const TextSink& sink);

/// The module tree: class names, parameters, bytes; equal neighbours among numbered layers are folded into
/// one.
std::string render_tree(const ModuleTree& tree, const std::string& filter);

/// Parameters and bytes below a module, each tensor at its first place, of the tensors that the filter lets
/// through.
struct ModuleTotals {
  uint64_t tensors = 0, parameters = 0, bytes = 0;
};

/// By ModuleId.
std::vector<ModuleTotals> module_totals(const ModuleTree& tree, const std::string& filter);

}  // namespace hfload::cli
