use super::other;
use crate::error::{Code, CodeInfo};

pub(super) const CODES: &[CodeInfo] = &[
    other(
        Code::UNKNOWN_VARIABLE,
        "unknown MESH_* variable",
        "The environment has a variable whose name begins with MESH_ and that the mesh does not \
         know. It is refused, because a misspelt setting that is silently ignored is found much \
         later.",
        &[
            "The name is misspelt; the message proposes the nearest known one.",
            "The variable belongs to another version of the mesh.",
            "A program of your own uses the prefix MESH_.",
        ],
        &[
            "Correct the name or remove it: `env | grep MESH_` lists what is set.",
            "Known are `MESH_SERVICE`, `MESH_CONTROL`, `MESH_POLICY`, `MESH_IDENTITY`, \
             `MESH_ADMIN`, `MESH_LOG` and `MESH_STATE`.",
        ],
    ),
    other(
        Code::CONTROL_UNREACHABLE,
        "the control server does not answer",
        "No connection to the control server could be made. A process that has run before serves \
         from its last good policy and identity on disk; one that has never joined cannot start.",
        &[
            "The control server is not running, or listens elsewhere.",
            "`MESH_CONTROL` names the wrong host or port; the port for gRPC is 7443.",
            "A firewall or a missing name in DNS.",
            "The certificate of the control server is not the one that the join token pins.",
        ],
        &[
            "`meshctl check` says whether the control server answers from here.",
            "Start it with `mesh-control --state DIR`, and compare its address with `MESH_CONTROL`.",
            "Running processes keep their policy meanwhile: `mesh_control_connected` is 0 there.",
        ],
    ),
    other(
        Code::BAD_CONFIGURATION,
        "a configuration value cannot be used",
        "A setting from the environment, the command line or code has a value that cannot be used. \
         The message names the setting and what it expects.",
        &[
            "An address without a port, or a port that is no number from 1 to 65535.",
            "A path that does not exist or cannot be read.",
            "A service name that is not `name`, `name.namespace` or `namespace/name`.",
        ],
        &[
            "Correct the setting that the message names; `--help` of the program lists all of them.",
            "`env | grep MESH_` shows what the process would read.",
        ],
    ),
    other(
        Code::PORT_IN_USE,
        "the port is in use",
        "Another process listens on the address that this one was told to listen on.",
        &[
            "An earlier instance has not ended yet: it drains for up to 30 s.",
            "Two services on one host were given the same port.",
        ],
        &[
            "`ss -ltnp` shows who listens; stop that process or choose another port.",
            "With port 0 the system chooses a free one, and the start-up line says which.",
        ],
    ),
    other(
        Code::INGRESS_CERTIFICATE,
        "a certificate of the ingress cannot be used",
        "A pair of certificate and key in the directory of `--certificates` is broken. The last good \
         one of that name stays, and the other pairs are not touched. At the start at least one pair \
         must be good. The message names the file.",
        &[
            "The key is not the one of the certificate: one of the two was replaced, the other not yet.",
            "The certificate has expired, or its time has not come.",
            "A file is not PEM, is cut off, or may not be read by the user of the process.",
            "There is no `NAME.crt` with its `NAME.key`, and no `NAME/tls.crt` with its `NAME/tls.key`.",
        ],
        &[
            "`openssl x509 -noout -dates -ext subjectAltName -in NAME.crt` shows times and names.",
            "Replace both files; they are looked at every second, and nothing has to be restarted.",
            "`mesh_shim_ingress_certificate_expiry_seconds` shows when those in use expire.",
        ],
    ),
];
