//! The kernel: tasks, signals, memory, VFS, descriptors, namespaces, time, IPC, loader.
