//! What EC2's errors mean: one table, and what is done about each.

use aws_sdk_ec2::{
    config::retry::RetryConfig,
    error::{ProvideErrorMetadata, SdkError},
};
use pools::{ProviderError, provider::ErrorKind};

/// What is to be done about an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// This offering has nothing now: another one is bought.
    Capacity,
    /// A quota of this name is used up: other families are bought, and people are told.
    Quota(&'static str),
    /// Too many calls: later. Nothing was done.
    Throttled,
    /// What became of the call is not known: it is made again with the same token.
    Transport,
    /// What is configured cannot work: people are told, and one machine is tried every five minutes.
    Config,
    /// It cannot be done with this machine or in this place.
    Unsupported,
}

/// Quota of processors that machines on demand of the standard families use (Service Quotas).
pub const ON_DEMAND_QUOTA: &str = "L-1216C47A";

/// Quota of processors of spot requests of the standard families.
pub const SPOT_QUOTA: &str = "L-34B43A08";

/// Every code that EC2 documents for the calls that are made here, and those that were met. Codes that end with `*` stand
/// for all that begin like them. The first that fits counts.
pub const CODES: &[(&str, Class)] = &[
    // Nothing to be had, here and now.
    ("InsufficientInstanceCapacity", Class::Capacity),
    ("InsufficientHostCapacity", Class::Capacity),
    ("InsufficientReservedInstanceCapacity", Class::Capacity),
    ("InsufficientCapacity*", Class::Capacity),
    ("InsufficientFreeAddressesInSubnet", Class::Capacity),
    ("InsufficientAddressCapacity", Class::Capacity),
    ("InsufficientVolumeCapacity", Class::Capacity),
    ("UnfulfillableCapacity", Class::Capacity),
    ("SpotMaxPriceTooLow", Class::Capacity),
    ("MaxSpotInstanceCountExceeded", Class::Quota(SPOT_QUOTA)),
    ("MaxSpotFleetRequestCountExceeded", Class::Quota("MaxSpotFleetRequestCount")),
    ("InstanceTypeNotSupported*", Class::Capacity),
    // A type that a zone does not have.
    ("Unsupported", Class::Capacity),
    ("UnsupportedOperation", Class::Unsupported),
    ("UnsupportedHibernationConfiguration", Class::Config),
    ("ReservationCapacityExceeded", Class::Capacity),
    // Quotas.
    ("VcpuLimitExceeded", Class::Quota(ON_DEMAND_QUOTA)),
    ("InstanceLimitExceeded", Class::Quota(ON_DEMAND_QUOTA)),
    ("InstanceCreditLimitExceeded", Class::Quota("InstanceCredit")),
    ("VolumeLimitExceeded", Class::Quota("L-D18FCD1D")),
    ("MaxIOPSLimitExceeded", Class::Quota("L-8D977E7E")),
    ("NetworkInterfaceLimitExceeded", Class::Quota("L-DF5E4CA3")),
    ("AddressLimitExceeded", Class::Quota("L-0263D0A3")),
    ("PrivateIpAddressLimitExceeded", Class::Quota("PrivateIpAddress")),
    ("ResourceLimitExceeded", Class::Quota("Resource")),
    ("ResourceCountExceeded", Class::Quota("Resource")),
    ("ConcurrentTagAccess", Class::Throttled),
    // Too many calls.
    ("RequestLimitExceeded", Class::Throttled),
    ("RequestThrottled", Class::Throttled),
    ("RequestThrottledException", Class::Throttled),
    ("Throttling*", Class::Throttled),
    ("ThrottledException", Class::Throttled),
    ("TooManyRequestsException", Class::Throttled),
    ("BandwidthLimitExceeded", Class::Throttled),
    ("EC2ThrottledException", Class::Throttled),
    ("PriorRequestNotComplete", Class::Throttled),
    ("SlowDown", Class::Throttled),
    ("IncorrectInstanceState", Class::Throttled),
    ("IncorrectState", Class::Throttled),
    ("IncorrectSpotRequestState", Class::Throttled),
    // Theirs; what became of the call is not known.
    ("InternalError", Class::Transport),
    ("InternalFailure", Class::Transport),
    ("InternalServerError", Class::Transport),
    ("Server.InternalError", Class::Transport),
    ("ServiceUnavailable", Class::Transport),
    ("Unavailable", Class::Transport),
    ("RequestTimeout*", Class::Transport),
    // The first call with this token took effect: its machines show in a listing.
    ("IdempotentParameterMismatch", Class::Transport),
    ("IdempotentInstanceTerminated", Class::Capacity),
    ("InvalidClientToken", Class::Config),
    // A clock that is wrong, and other things that people have to mend.
    ("RequestExpired", Class::Config),
    ("SignatureDoesNotMatch", Class::Config),
    ("AuthFailure", Class::Config),
    ("Blocked", Class::Config),
    ("InvalidClientTokenId", Class::Config),
    ("UnauthorizedOperation", Class::Config),
    ("UnauthorizedAccess", Class::Config),
    ("AccessDenied*", Class::Config),
    ("OptInRequired", Class::Config),
    ("PendingVerification", Class::Config),
    ("PendingSnapshotLimitExceeded", Class::Config),
    ("OperationNotPermitted", Class::Config),
    ("ExpiredToken*", Class::Config),
    ("NoCredentials", Class::Config),
    ("InvalidAMIID*", Class::Config),
    ("InvalidAMIName*", Class::Config),
    ("AMIDisabled", Class::Config),
    ("InvalidParameter*", Class::Config),
    ("InvalidSubnetID*", Class::Config),
    ("InvalidSubnet*", Class::Config),
    ("InvalidGroup*", Class::Config),
    ("InvalidSecurityGroup*", Class::Config),
    ("InvalidKeyPair*", Class::Config),
    ("InvalidKey*", Class::Config),
    ("InvalidBlockDeviceMapping", Class::Config),
    ("InvalidIamInstanceProfile*", Class::Config),
    ("InvalidLaunchTemplate*", Class::Config),
    ("InvalidFleetConfig*", Class::Config),
    ("InvalidInstanceType", Class::Config),
    ("InvalidAvailabilityZone", Class::Config),
    ("InvalidUserData*", Class::Config),
    ("InvalidAllocationID*", Class::Config),
    ("InvalidAddress*", Class::Config),
    ("InvalidVolume*", Class::Config),
    ("InvalidSnapshot*", Class::Config),
    ("InvalidSpotDatafeed*", Class::Config),
    ("InvalidInstanceID*", Class::Config),
    ("NoSuchEntity", Class::Config),
    ("MissingParameter", Class::Config),
    ("MissingInput", Class::Config),
    ("Unknown*", Class::Config),
    ("ValidationError", Class::Config),
    ("VPCIdNotSpecified", Class::Config),
    ("VPCResourceNotSpecified", Class::Config),
    ("DefaultVpcDoesNotExist", Class::Config),
    ("MissingSubnet*", Class::Config),
    ("EncryptedVolumesNotSupported", Class::Config),
    ("TagLimitExceeded", Class::Config),
    ("TagPolicyViolation", Class::Config),
];

/// What is to be done about a code that came with this HTTP status.
pub fn class(code: &str, status: Option<u16>) -> Class {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(beginning) => code.starts_with(beginning),
        None => code == pattern,
    };
    if !code.is_empty()
        && let Some((_, class)) = CODES.iter().find(|(pattern, _)| fits(pattern))
    {
        return *class;
    }
    match status {
        Some(429) => Class::Throttled,
        Some(400..=499) => Class::Config,
        _ => Class::Transport,
    }
}

/// Calls are made once: whoever asked for them knows better whether and when they are to be made again.
pub(crate) fn no_retries() -> RetryConfig {
    RetryConfig::disabled()
}

/// What went wrong, for the pools. `spot` says which quota it was, where a code leaves that open.
pub(crate) fn told<E, R>(doing: &str, error: &SdkError<E, R>, spot: bool) -> ProviderError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + Status,
{
    let (code, message) = match error {
        SdkError::ServiceError(context) => {
            let code = context.err().code().unwrap_or("Unreadable").to_owned();
            (code, context.err().message().unwrap_or("without a word").to_owned())
        }
        SdkError::TimeoutError(_) => ("Timeout".to_owned(), "no answer came in time".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_user() || is_credentials(error) => {
            ("NoCredentials".to_owned(), chain(error))
        }
        SdkError::DispatchFailure(_) => ("Unreachable".to_owned(), chain(error)),
        SdkError::ResponseError(_) => ("Unreadable".to_owned(), chain(error)),
        SdkError::ConstructionFailure(_) => ("InvalidRequest".to_owned(), chain(error)),
        _ => ("Unknown".to_owned(), chain(error)),
    };
    let status = match error {
        SdkError::ServiceError(context) => Some(context.raw().status()),
        SdkError::ResponseError(context) => Some(context.raw().status()),
        _ => None,
    };
    let class = match error {
        SdkError::ConstructionFailure(_) => Class::Config,
        SdkError::DispatchFailure(_) if code == "NoCredentials" => Class::Config,
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ResponseError(_) => {
            Class::Transport
        }
        _ => class(if code == "Unreadable" { "" } else { &code }, status),
    };
    ProviderError { kind: kind(class, spot), code, text: format!("{doing}: {}", bounded(&message)) }
}

/// What went wrong with a part of a call that had an answer.
pub(crate) fn of_code(doing: &str, code: &str, message: &str, spot: bool) -> ProviderError {
    let text = format!("{doing}: {}", bounded(message));
    ProviderError { kind: kind(class(code, None), spot), code: bounded(code), text }
}

fn kind(class: Class, spot: bool) -> ErrorKind {
    match class {
        Class::Capacity => ErrorKind::Capacity,
        Class::Quota(ON_DEMAND_QUOTA) if spot => ErrorKind::Quota(Some(SPOT_QUOTA.to_owned())),
        Class::Quota(name) => ErrorKind::Quota(Some(name.to_owned())),
        Class::Throttled => ErrorKind::Throttled(None),
        Class::Transport => ErrorKind::Transport,
        Class::Config => ErrorKind::Config,
        Class::Unsupported => ErrorKind::Unsupported,
    }
}

/// An answer's HTTP status.
pub(crate) trait Status {
    fn status(&self) -> u16;
}

impl Status for aws_sdk_ec2::config::http::HttpResponse {
    fn status(&self) -> u16 {
        Self::status(self).as_u16()
    }
}

fn is_credentials<E: std::error::Error + 'static, R: std::fmt::Debug>(error: &SdkError<E, R>) -> bool {
    chain(error).to_ascii_lowercase().contains("credentials")
}

/// An error with its causes, in a line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// The longest message that is passed on, in characters. (An encoded authorization message alone has thousands.)
const MESSAGE: usize = 500;

fn bounded(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MESSAGE).map(clean).collect()
}
