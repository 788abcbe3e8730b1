//! The Kubernetes source of the world: pods that join networks by annotation become attachments, and
//! the controller's hub distributes them.
#![forbid(unsafe_code)]
