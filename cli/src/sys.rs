//! The crate's only unsafe code: a static binary tells the C library inside it how names are looked up.
//!
//! glibc loads modules for that, as `/etc/nsswitch.conf` has them, from the system that it runs on. In a static binary they would come with a
//! second C library, and with one of another version the first look-up ends the process: 2.36 inside and 2.43 outside, with the common module
//! `myhostname`, was a segmentation fault. `files` and `dns` are built in.

/// To be called before there are threads. Binaries that use the system's C library look names up as the system does.
#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
pub(crate) const fn look_names_up_without_modules() {}

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
pub(crate) use self::built_in::look_names_up_without_modules;

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
mod built_in {
    #![expect(unsafe_code, reason = "the C library offers it as a function of C only")]

    use std::ffi::{CStr, c_char, c_int};

    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }

    /// Host names come from the hosts file and from DNS, users from their file.
    pub(crate) fn look_names_up_without_modules() {
        const SERVICES: [(&CStr, &CStr); 3] =
            [(c"hosts", c"files dns"), (c"passwd", c"files"), (c"group", c"files")];
        for (database, services) in SERVICES {
            // SAFETY: both are texts that end in zero and live for ever, and no other thread looks a name up yet.
            let status = unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
            debug_assert_eq!(status, 0, "the C library knows its own databases");
        }
    }
}
