#pragma once

namespace hfload::cli {

/// Lets this process's heap grow in steps of 32 MiB that are advised for huge pages: the shell of a large
/// model is some 100,000 small objects, and a third of the time to plan it would go into page faults of 4
/// KiB. To be called once, before there are threads. Does nothing where malloc is not glibc's or the kernel
/// grants no huge pages.
void advise_huge_pages_for_heap();

}  // namespace hfload::cli
