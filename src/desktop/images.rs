//! Images on the engine: which there are, and whose they are. How they get there is [`super::pulls`].

use super::{DesktopError, Desktops};
use crate::engine::Image;

impl Desktops {
    /// What the engine has.
    pub async fn images(&self) -> Result<Vec<Image>, DesktopError> {
        Ok(self.inner.parts.engine.images().await?)
    }

    /// Ids of the templates whose image has one of these names.
    #[must_use]
    pub fn templates_of(&self, names: &[String]) -> Vec<&str> {
        let templates = self.inner.templates.iter();
        let of_image = templates.filter(|template| names.contains(&template.image));
        of_image.map(|template| template.id.as_str()).collect()
    }
}
