use super::{call, other};
use crate::error::{Code, CodeInfo, ErrorKind};

pub(super) const CODES: &[CodeInfo] = &[
    call(
        ErrorKind::Denied,
        "denied by an access policy",
        "The service has an access policy, and none of its rules allows this caller to do this. \
         The caller is told no more than that; the rule is in the log of the service.",
        &[
            "The caller is not in the `from` of any rule.",
            "The caller is, but not for this method or path.",
            "The caller has no identity, or goes through something that hides it.",
        ],
        &[
            "`meshctl explain SERVICE` shows the rules and which policy they come from.",
            "`meshctl stat --to SERVICE` shows who is denied.",
            "Add the caller to `allow` of the `AccessPolicy`, or try with `mode: Audit` first.",
        ],
    ),
    call(
        ErrorKind::Tls,
        "a TLS handshake failed",
        "The two sides could not agree on a protected connection: the certificate was refused, or \
         one side does not speak TLS. Nothing was sent.",
        &[
            "The endpoint speaks plaintext, or something else listens there.",
            "The two sides trust different certificate authorities.",
            "The certificate is expired or not yet valid (M4004).",
        ],
        &[
            "`meshctl check` names the peers whose handshakes fail.",
            "`meshctl clients` shows each process's identity and trust bundle.",
            "A process without identity joins with `MESH_IDENTITY=token:PATH`.",
        ],
    ),
    call(
        ErrorKind::Identity,
        "not the expected identity",
        "The peer proved an identity, but not the one that this endpoint must have, or it proved \
         none. The call was not sent: the address may have passed to another service.",
        &[
            "The address was reused by an instance of another service.",
            "The instance runs under a wrong service name.",
            "The certificate breaks the rules of SPIFFE: no URI name, or more than one.",
            "The peer belongs to a trust domain that is not trusted here.",
        ],
        &[
            "`meshctl endpoints SERVICE` shows the identity that is expected.",
            "`meshctl clients` shows the identity that each process has.",
            "Look at what it presents: `openssl s_client -connect ADDRESS </dev/null | openssl \
             x509 -noout -ext subjectAltName`.",
        ],
    ),
    other(
        Code::CERTIFICATE_TIME,
        "a certificate is expired or not yet valid",
        "The time on the certificate and the clock of the side that checks it do not fit. Leaves \
         live 24 h and are renewed at 70 % of their life.",
        &[
            "The process could not reach the control server for longer than its certificate lived.",
            "The clock of one of the two machines is wrong.",
            "The process was suspended.",
        ],
        &[
            "`meshctl check` names who is affected, and `meshctl clients` shows who is connected.",
            "Compare the clocks: `date -u` on both machines.",
            "Restart the process with a valid join token in `MESH_IDENTITY` once the control \
             server is back.",
        ],
    ),
    other(
        Code::TOKEN_REFUSED,
        "the join token was refused",
        "The control server does not accept the token that the process joins with, so it gives no \
         identity.",
        &[
            "The token is of another control server, or of one whose state was deleted.",
            "The token was cut off: it has three parts with dots between and starts with `mesh1.`.",
            "The token file holds an old token.",
        ],
        &[
            "Take the present token from the state directory of `mesh-control`, file `join-token`.",
            "Check which one is used: `echo $MESH_IDENTITY`.",
        ],
    ),
    other(
        Code::CSR_REFUSED,
        "the certificate request was refused",
        "The control server did not sign the certificate that the process asked for. The message \
         says which rule it breaks.",
        &[
            "The process asked for the identity of a service that it may not have: with its own \
             certificate it can only renew the same one.",
            "The service name is not valid.",
            "The request is damaged, or of an unsupported kind of key.",
            "Certificates are asked for too often: 20 a second are looked at for one address, and 200 \
             for all, after bursts of 100 and 1,000; those who join and those who renew are counted \
             apart. The message then says that the request was not looked at, and when to try again.",
        ],
        &[
            "When it was not looked at, wait: a process tries again by itself. If it goes on, look \
             for one that restarts again and again, in `meshctl events`.",
            "Compare `MESH_SERVICE` with the identity in the state directory of the process.",
            "Delete the old identity from `MESH_STATE` and join again with a token.",
        ],
    ),
    other(
        Code::EGRESS_DENIED,
        "the host is not in the policy",
        "The shim runs with `--egress deny` and was asked for a host that no service of the policy \
         means. Nothing was sent.",
        &[
            "The service outside was never defined.",
            "The host is misspelt, or the port is not one that the service has.",
        ],
        &[
            "`mesh_shim_egress_total` in the shim's metrics lists what was asked for.",
            "Define it: a `Service` with `endpoints: { external: { host: api.example.com } }`.",
            "With `--egress report` such hosts are let out and only counted.",
        ],
    ),
];
