//! x

/// x
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FeatureError(String);

/// x
pub async fn turn_off_for_xdp(_port: &str, _kind: Option<&str>) -> Result<Vec<String>, FeatureError> {
    Ok(vec![])
}

/// x
pub async fn restore(_port: &str, _names: &[String]) -> Result<(), FeatureError> {
    Ok(())
}
