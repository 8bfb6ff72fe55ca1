"""Certificates, good and bad, by an authority of the tests' own."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA = trustme.CA()
"""The authority that `client_context` trusts."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")

SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)

DAY = datetime.timedelta(days=1)


def server_context(*names: str, ca: trustme.CA = CA, **options: object) -> ssl.SSLContext:
    """A server's context with a certificate for `names`, by default those of loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if names or ca is not CA or options:
        ca.issue_cert(*(names or LOOPBACK), **options).configure_cert(context)  # type: ignore[arg-type]
    else:
        _loopback_certificate().configure_cert(context)
    return context


@cache
def _loopback_certificate() -> trustme.LeafCert:
    return CA.issue_cert(*LOOPBACK)


def client_context() -> ssl.SSLContext:
    """A context that verifies, and trusts `CA` alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    CA.configure_trust(context)
    return context


class Authority:
    """Issues what trustme refuses to: odd names, odd times, constraints."""

    def __init__(self, *, permitted: str | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            # Python 3.13 asks for what RFC 5280 §4.2.1.3 does.
            .add_extension(SIGNS_CERTIFICATES, critical=True)
        )
        if permitted is not None:
            constraints = x509.NameConstraints([x509.DNSName(permitted)], None)
            builder = builder.add_extension(constraints, critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())

    def client_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self._certificate.public_bytes(serialization.Encoding.DER))
        return context

    def write_certificate(self, directory: Path) -> Path:
        """A file that SSL_CERT_FILE can name."""
        path = directory / "authority.pem"
        path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def server_context(
        self,
        *,
        names: Sequence[str] = (),
        addresses: Sequence[str] = (),
        subject: str = "A server",
        begins: datetime.timedelta = -DAY,
        ends: datetime.timedelta = DAY,
    ) -> ssl.SSLContext:
        """A context with a certificate for DNS `names` and IP `addresses`, `subject` its common name.

        `begins` and `ends` count from now. Without names and addresses there is no SAN at all.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        general = [
            *(x509.DNSName(name) for name in names),
            *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
        ]
        if general:
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return _load(certificate, key)


def _load(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # The ssl module reads certificates from files only.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "server.pem")
        path.write_bytes(secret + certificate.public_bytes(pem))
        context.load_cert_chain(path)
    return context
