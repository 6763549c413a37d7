//! The frontier as a picture: what less waiting costs.

use std::path::Path;

use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color, EmptyElement, IntoDrawingArea, IntoFont, LineSeries, RED, RGBColor,
    SVGBackend, Text, WHITE,
};

use super::Done;
use crate::exit::{Exit, Failure};

const OURS: RGBColor = RGBColor(0x1f, 0x77, 0xb4);

/// Draws mean wait over overhead hours: our own runs as a line, rules of others as points.
pub(super) fn draw(file: &Path, done: &[Done]) -> Result<(), Failure> {
    if file.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("svg")) {
        let problem = format!("--plot {}: the picture is SVG", file.display());
        return Err(Failure::text(Exit::Usage, problem).advise("give it a name that ends in .svg"));
    }
    let mut picture = String::new();
    if let Err(error) = draw_into(&mut picture, done) {
        return Err(Failure::text(Exit::Internal, format!("cannot draw: {error}")));
    }
    std::fs::write(file, picture).map_err(|error| {
        Failure::text(Exit::CannotCreate, format!("cannot write {}: {error}", file.display()))
    })
}

fn draw_into(picture: &mut String, done: &[Done]) -> Result<(), Box<dyn std::error::Error>> {
    let most = |of: &dyn Fn(&Done) -> f64| done.iter().map(of).fold(1.0, f64::max) * 1.15;
    let (width, height) = (most(&|run| run.outcome.overhead_h), most(&|run| run.outcome.mean_wait_s));
    let area = SVGBackend::with_string(picture, (900, 600)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(20)
        .x_label_area_size(45)
        .y_label_area_size(60)
        .caption("What waiting less costs", ("sans-serif", 20))
        .build_cartesian_2d(0.0..width, 0.0..height)?;
    chart
        .configure_mesh()
        .x_desc("overhead, machine hours")
        .y_desc("mean wait, s")
        .light_line_style(WHITE)
        .draw()?;
    let point = |run: &Done| (run.outcome.overhead_h, run.outcome.mean_wait_s);
    let mut ours: Vec<(f64, f64)> = done.iter().filter(|run| run.variant.rule.is_none()).map(point).collect();
    ours.sort_by(|a, b| a.0.total_cmp(&b.0));
    chart.draw_series(LineSeries::new(ours, OURS.stroke_width(2)))?;
    for run in done {
        let color = if run.variant.rule.is_none() { OURS } else { RED };
        let dot = Circle::new((0, 0), 4, color.filled());
        let label =
            Text::new(run.variant.name.clone(), (7, -12), ("sans-serif", 13).into_font().color(&BLACK));
        chart.draw_series([EmptyElement::at(point(run)) + dot + label])?;
    }
    area.present()?;
    Ok(())
}
