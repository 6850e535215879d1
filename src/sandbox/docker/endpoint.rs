//! Where an engine is, as `DOCKER_HOST` says it: a socket, TCP with TLS, or a host that is reached by ssh.

use std::path::PathBuf;

/// What an engine over TCP is known by, and what it knows the supervisor by: files with PEM in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Whoever vouches for the engine.
    pub ca: PathBuf,
    /// The supervisor's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// At a socket of this machine.
    Unix(PathBuf),
    /// At a port, behind TLS.
    Tls {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Who is who.
        tls: Tls,
    },
    /// At a host where `docker system dial-stdio` leads to it.
    Ssh {
        /// `user@host`.
        target: String,
        /// Options for ssh, before the target.
        options: Vec<String>,
    },
}

impl Endpoint {
    /// Reads `unix:///path`, `tcp://host:port` or `ssh://user@host:port`.
    ///
    /// # Errors
    /// What is wrong with it. TCP without TLS is: whoever reaches such an engine is root on its machine.
    pub fn new(url: &str, tls: Option<Tls>, options: &[String]) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| form(url))?;
        if tls.is_some() != (scheme == "tcp") {
            return Err("an engine at `tcp://` needs `tls` with `ca`, `cert` and `key`: whoever reaches one is root on its machine; \
                        no other has it"
                .to_owned());
        }
        if !options.is_empty() && scheme != "ssh" {
            return Err("`options` of an engine are for `ssh://`".to_owned());
        }
        match (scheme, tls) {
            ("unix", _) if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            ("tcp", Some(tls)) => {
                let (host, port) = rest.rsplit_once(':').ok_or_else(|| form(url))?;
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let port = port.parse().map_err(|_| form(url))?;
                if host.is_empty() { Err(form(url)) } else { Ok(Self::Tls { host, port, tls }) }
            }
            ("ssh", _) => {
                let (target, port) = match rest.rsplit_once(':') {
                    Some((target, port)) => (target, Some(port.parse::<u16>().map_err(|_| form(url))?)),
                    None => (rest, None),
                };
                // It is a word of a command line, and no option.
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
                if target.is_empty() || target.starts_with(['-', '@']) || !target.bytes().all(plain) {
                    return Err(form(url));
                }
                let mut options = options.to_vec();
                options.extend(port.into_iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
                Ok(Self::Ssh { target: target.to_owned(), options })
            }
            _ => Err(form(url)),
        }
    }
}

fn form(url: &str) -> String {
    format!("`{url}` is no engine: it is `unix:///path`, `tcp://host:port` or `ssh://user@host`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls() -> Option<Tls> {
        Some(Tls { ca: "/ca".into(), cert: "/cert".into(), key: "/key".into() })
    }

    #[test]
    fn an_engine_is_a_socket_tls_or_ssh() {
        let read = |url: &str, tls: Option<Tls>| Endpoint::new(url, tls, &[]);
        assert_eq!(read("unix:///run/x.sock", None), Ok(Endpoint::Unix("/run/x.sock".into())));
        let Ok(Endpoint::Tls { host, port, .. }) = read("tcp://[::1]:2376", tls()) else {
            panic!("it is one")
        };
        assert_eq!((host.as_str(), port), ("::1", 2376));
        let ssh =
            Endpoint::Ssh { target: "ann@big.example.org".into(), options: vec!["-p".into(), "22".into()] };
        assert_eq!(read("ssh://ann@big.example.org:22", None), Ok(ssh));
    }

    #[test]
    fn what_is_open_to_everybody_or_is_an_option_is_refused() {
        for (url, tls) in [
            ("tcp://host:2375", None),
            ("unix:///run/x.sock", tls()),
            ("unix://run/x.sock", None),
            ("tcp://host", tls()),
            ("tcp://:2376", tls()),
            ("http://host:2376", None),
            ("ssh://-oProxyCommand=x", None),
            ("ssh://a b", None),
            ("ssh://ann@host:x", None),
            ("ssh://", None),
            ("/run/x.sock", None),
        ] {
            assert!(Endpoint::new(url, tls, &[]).is_err(), "{url}");
        }
        assert!(Endpoint::new("unix:///run/x.sock", None, &["-v".to_owned()]).is_err());
    }
}
