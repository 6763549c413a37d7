//! What a machine is told at its start.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use model::{InstanceId, ec2};
use pools::{
    ProviderError,
    metadata::{Clean, Document, Enroll, Master, Settings as Behaviour},
    provider::LaunchRequest,
};
use secrecy::{ExposeSecret, SecretString};

use crate::Settings;

/// The most bytes that EC2 takes, before they are packed for the call.
pub(crate) const LIMIT: usize = 16 * 1024;

/// What stands for the machine's document, in base64, in a text of one's own.
pub(crate) const PLACE: &str = "@DOCUMENT@";

/// The user data of a call, in base64, as the call has it. The same each time the call is made.
pub(crate) fn of(
    settings: &Settings,
    text: Option<&str>,
    request: &LaunchRequest,
) -> Result<SecretString, ProviderError> {
    let (mut instance, mut ticket, mut secret) = (None::<InstanceId>, None, None);
    match settings.template.enrollment {
        ec2::Enrollment::Identity => {
            let Some(given) = &request.ticket else {
                let text = "the call has no ticket, so no machine of it could enroll".to_owned();
                return Err(ProviderError::config("NoTicket", text));
            };
            ticket = Some(given.clone());
        }
        ec2::Enrollment::Secret => {
            let [member] = &request.members[..] else {
                let text = "machines with a secret each are started one by one".to_owned();
                return Err(ProviderError::config("TooMany", text));
            };
            instance = Some(member.instance);
            let Some(given) = &member.secret else {
                let text = "its secret was lost before it was started, so it would be of no use".to_owned();
                return Err(ProviderError::capacity("NoSecret", text));
            };
            secret = Some(given.clone());
        }
        ec2::Enrollment::Tags => {}
    }
    let document = Document {
        version: Document::VERSION,
        deployment: settings.deployment.clone(),
        pool: settings.pool.clone(),
        instance,
        token: request.token.clone(),
        template: request.template.clone(),
        worker: None,
        master: Master { address: settings.master.clone() },
        enroll: Some(Enroll {
            address: settings.enroll.clone(),
            fingerprint: settings.fingerprint.clone(),
            ticket,
            secret,
        }),
        settings: Behaviour {
            silence: u32::try_from(settings.template.silence.as_secs()).unwrap_or(u32::MAX),
            clean: match settings.template.clean {
                ec2::Clean::Never => Clean::Never,
                ec2::Clean::Start => Clean::Start,
                ec2::Clean::Idle => Clean::Idle,
            },
            ..Behaviour::default()
        },
    };
    let wrong = |error: &dyn std::fmt::Display| ProviderError::config("InvalidUserData", error.to_string());
    let document = document.to_json().map_err(|error| wrong(&error))?;
    let data = match text {
        None => document,
        Some(text) => text.replace(PLACE, &BASE64_STANDARD.encode(document.expose_secret())).into(),
    };
    if data.expose_secret().len() > LIMIT {
        let length = data.expose_secret().len();
        return Err(wrong(&format_args!("user data of {length} bytes; EC2 takes {LIMIT}")));
    }
    Ok(BASE64_STANDARD.encode(data.expose_secret()).into())
}
