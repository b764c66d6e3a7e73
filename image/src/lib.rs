//! Makes images: takes a base image and files, gives OCI layouts, archives and PXE files; touches readers and writers
//! handed in.
