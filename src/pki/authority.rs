//! A certificate authority as a value: it signs, and reads no clock and no file.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams,
    CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{PkiError, Record, Serial, Subject};
use crate::model::{InvalidValue, Name};

/// How long before its making a certificate is valid, for clocks that are behind.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);

/// How long a revocation list is current. Our verifiers take an older one, too, and log it: an
/// owner who forgot to sign a new one must not be locked out.
const LIST_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How long certificates live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(pub SignedDuration);

impl Lifetime {
    /// The default of a CA.
    pub const CA: Self = Self::days(3650);

    /// So many days.
    pub const fn days(days: u32) -> Self {
        Self(SignedDuration::from_hours(24 * days as i64))
    }

    /// So many hours.
    pub const fn hours(hours: u32) -> Self {
        Self(SignedDuration::from_hours(hours as i64))
    }

    /// Returns the default for a subject.
    pub fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Identity(crate::identity::Identity::Node(_)) => Self::days(7),
            _ => Self::days(30),
        }
    }
}

/// A certificate authority.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    ends: Timestamp,
}

/// What a new certificate says.
pub(super) struct Order<'o> {
    pub subject: &'o Subject,
    /// DNS names and addresses.
    pub names: &'o [String],
    pub now: Timestamp,
    pub lifetime: Lifetime,
}

impl Authority {
    /// Makes a new CA. Returns it with its certificate and its key as PEM.
    ///
    /// # Errors
    /// Fails if the lifetime is too long for a certificate.
    pub fn create(
        fabric: &Name,
        now: Timestamp,
        lifetime: Lifetime,
    ) -> Result<(Self, String, String), PkiError> {
        let serial = Serial::random()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // Two CAs of one name would be taken for one by whoever looks for the revocation list of an
        // issuer, so that a fabric could not change from one CA to the next: the name has a
        // part of the serial number in it.
        let serial_text = serial.to_string();
        let name = format!("Sillon {fabric} CA {}", &serial_text[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from_slice(serial.bytes()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = datetime(now.saturating_sub(CLOCKS_DIFFER).unwrap_or(now))?;
        params.not_after = datetime(end(now, lifetime)?)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        let (certificate_pem, key_pem) = (certificate.pem(), key.serialize_pem());
        Ok((Self::new(certificate.into(), key)?, certificate_pem, key_pem))
    }

    /// Takes up an existing CA.
    ///
    /// # Errors
    /// Fails if it is no certificate, not that of a CA, or if the key is not the certificate's.
    pub fn new(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, PkiError> {
        let help = "give the certificate of a CA, and its key";
        let unreadable = || PkiError::wrong("the CA's certificate can't be read", help);
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| unreadable())?;
        if !parsed.is_ca() {
            return Err(PkiError::wrong("the certificate is not a CA's", help));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(PkiError::wrong("the key is not that of the CA's certificate", help));
        }
        let ends = Timestamp::from_second(parsed.validity().not_after.timestamp())
            .map_err(|_| unreadable())?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { certificate, issuer, ends })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Signs a certificate. Returns it as PEM, with its record for the index.
    pub(super) fn issue(
        &self,
        order: &Order<'_>,
        key: &impl PublicKeyData,
    ) -> Result<(String, Record), PkiError> {
        let until = end(order.now, order.lifetime)?;
        if until > self.ends {
            return Err(PkiError::wrong(
                format_args!("the certificate would outlive its CA, which ends at {}", self.ends),
                "ask for less, or begin with a new CA",
            ));
        }
        let serial = Serial::random()?;
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(serial.bytes()));
        params.distinguished_name = common_name(order.subject);
        params.subject_alt_names = alternative_names(order.subject, order.names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match order.subject {
            Subject::Identity(_) => ExtendedKeyUsagePurpose::ClientAuth,
            Subject::Controller(_) => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        params.not_before = datetime(order.now.saturating_sub(CLOCKS_DIFFER).unwrap_or(order.now))?;
        params.not_after = datetime(until)?;
        let certificate = params.signed_by(key, &self.issuer)?;
        let record = Record {
            serial,
            subject: order.subject.clone(),
            names: order.names.to_vec(),
            from: order.now,
            until,
            revoked: None,
        };
        Ok((certificate.pem(), record))
    }

    /// Signs the revocation list, as PEM. An expired certificate leaves it once no list is current
    /// that was signed before it expired.
    pub(super) fn revocations<'r>(
        &self,
        number: u64,
        issued: impl IntoIterator<Item = &'r Record>,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let mut revoked_certs = Vec::new();
        for record in issued {
            let Some(when) = record.revoked else { continue };
            if record.until.saturating_add(LIST_LIFETIME).is_ok_and(|forgotten| forgotten < now) {
                continue;
            }
            revoked_certs.push(RevokedCertParams {
                serial_number: SerialNumber::from_slice(record.serial.bytes()),
                revocation_time: datetime(when)?,
                reason_code: None,
                invalidity_date: None,
            });
        }
        let list = CertificateRevocationListParams {
            this_update: datetime(now)?,
            next_update: datetime(end(now, Lifetime(LIST_LIFETIME))?)?,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

/// Makes a key and a request for its certificate, both as PEM: so the CA never has the key.
///
/// # Errors
/// Fails if a name is no DNS name.
pub fn new_request(subject: &Subject, names: &[String]) -> Result<(String, String), PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(subject);
    params.subject_alt_names = alternative_names(subject, names)?;
    Ok((params.serialize_request(&key)?.pem()?, key.serialize_pem()))
}

/// Returns the key of a request whose signature is valid. Nothing else in the request counts: the
/// owner decides what the certificate says.
pub(super) fn key_of_request(pem: &str) -> Result<rcgen::PublicKey, PkiError> {
    let request = CertificateSigningRequestParams::from_pem(pem).map_err(|error| {
        let help = "give a PKCS #10 request in PEM, with a key of ECDSA, Ed25519 or RSA, and no \
            extensions but names and key usages";
        PkiError::wrong(format_args!("the request can't be used: {error}"), help)
    })?;
    Ok(request.public_key)
}

/// Makes a key.
pub(super) fn new_key() -> Result<KeyPair, PkiError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn common_name(subject: &Subject) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, subject.to_string());
    name
}

fn alternative_names(subject: &Subject, names: &[String]) -> Result<Vec<SanType>, PkiError> {
    match subject {
        Subject::Identity(identity) if names.is_empty() => {
            Ok(vec![SanType::URI(identity.uri().try_into()?)])
        }
        Subject::Identity(identity) => Err(PkiError::wrong(
            format_args!("{identity} is who asks, and is reached at no name"),
            "give --dns and --ip for controller/NAME only",
        )),
        Subject::Controller(name) if names.is_empty() => Err(PkiError::wrong(
            format_args!(
                "a client could not tell that controller/{name} is the one that it asked for"
            ),
            "give each name and address by which it is reached with --dns and --ip",
        )),
        Subject::Controller(_) => names.iter().map(|name| server_name(name)).collect(),
    }
}

fn server_name(name: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let checked = rustls::pki_types::DnsName::try_from(name).map_err(|_| {
        InvalidValue::new(
            format_args!("{name:?} is no DNS name"),
            "give one such as controller-1.example",
        )
    })?;
    Ok(SanType::DnsName(checked.as_ref().try_into()?))
}

fn end(now: Timestamp, lifetime: Lifetime) -> Result<Timestamp, PkiError> {
    let too_long = |_| PkiError::wrong("that is too long", "ask for fewer days");
    if lifetime.0 <= SignedDuration::ZERO {
        return Err(PkiError::wrong("that is no time at all", "ask for an hour at least"));
    }
    now.checked_add(lifetime.0).map_err(too_long)
}

fn datetime(when: Timestamp) -> Result<OffsetDateTime, PkiError> {
    OffsetDateTime::from_unix_timestamp(when.as_second()).map_err(|_| {
        PkiError::wrong(format_args!("{when} can't be written into a certificate"), "set the clock")
    })
}
