//! Service Quotas: what the account may have.

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{Market, server::Server};
use crate::ec2::{moto::Answer, query::Query};

/// Quotas of processors of the standard families.
const STANDARD: [(&str, Market); 2] = [("L-1216C47A", Market::OnDemand), ("L-34B43A08", Market::Spot)];

/// What an account that nobody limits may have.
const ENOUGH: usize = 100_000;

impl Server {
    /// Answers `GetServiceQuota`; an account has others too, which nobody here knows.
    pub(super) fn quota_of(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let action = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let action = action.rsplit('.').next().unwrap_or_default().to_owned();
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let code = asked["QuotaCode"].as_str().unwrap_or_default().to_owned();
        let mut world = self.world();
        let number = world.log(&Query::new(&action, &[("QuotaCode", &code)]));
        let known = STANDARD.iter().find(|(known, _)| *known == code);
        let answer = match known.filter(|_| action == "GetServiceQuota") {
            _ if world.settings.quotas_hidden => {
                refused("AccessDeniedException", "not authorized to perform: servicequotas:GetServiceQuota")
            }
            Some((code, market)) => {
                let value = world.settings.vcpus.get(market).copied().unwrap_or(ENOUGH);
                let quota =
                    json!({"ServiceCode": "ec2", "QuotaCode": code, "Value": value as f64, "Unit": "None"});
                (StatusCode::OK, json!({ "Quota": quota }))
            }
            None => refused(
                "NoSuchResourceException",
                "The request failed because the specified quota does not exist.",
            ),
        };
        world.outcome(number, if answer.0.is_success() { "ok" } else { "refused" });
        Answer {
            status: answer.0,
            content_type: "application/x-amz-json-1.1".into(),
            body: Bytes::from(answer.1.to_string()),
        }
    }
}

fn refused(code: &str, message: &str) -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({"__type": code, "Message": message, "message": message}))
}
