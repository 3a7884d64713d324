#pragma once

namespace hfload::cli {

enum class HeapUse { many_small_objects, streamed_weights };

/// Makes this process's heap one for that use. To be called once, before there are threads.
///
/// The shell of a large model is some 100,000 small objects, and a third of the time to plan it would go into
/// page faults of 4 KiB: the heap grows in steps of 32 MiB that are advised for huge pages. Commands that
/// stream weights promise to take little memory instead: a block of some size that is freed goes back to the
/// system at once. Does nothing where malloc is not glibc's or the kernel grants no huge pages.
void prepare_heap(HeapUse use);

}  // namespace hfload::cli
