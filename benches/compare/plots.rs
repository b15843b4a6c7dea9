//! Draws the plots, as SVG.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Result;
use crate::report::{Samples, digits};

const OURS: RGBColor = RGBColor(0x1b, 0x5e, 0x9e);
const OTHERS: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
/// Colors that people who cannot tell red from green can tell apart.
const LINES: [RGBColor; 5] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];
const TEXT: (&str, i32) = ("sans-serif", 14);

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn canvas(path: &Path, height: u32) -> Result<Canvas<'_>> {
    let canvas = SVGBackend::new(path, (720, height)).into_drawing_area();
    canvas.fill(&WHITE)?;
    Ok(canvas)
}

/// Draws a bar for each contender. The first is the agent's, and has its own color.
pub fn throughput(path: &Path, bars: &[(&str, f64)]) -> Result<()> {
    let canvas = canvas(path, 70 + 34 * bars.len() as u32)?;
    let most = bars.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let rows = bars.len();
    // The first bar is at the top.
    let row = |i: usize| rows - 1 - i;
    let mut chart = ChartBuilder::on(&canvas)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(140)
        .build_cartesian_2d(0.0..most * 1.1, (0..rows).into_segmented())?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(TEXT)
        .y_labels(rows)
        .y_label_formatter(&|at| match at {
            SegmentValue::CenterOf(i) if *i < rows => bars[row(*i)].0.to_owned(),
            _ => String::new(),
        })
        .x_desc("MiB/s of output, 100-byte lines in big writes")
        .draw()?;
    let bar = |(i, (_, rate)): (usize, &(&str, f64))| {
        let color = if i == 0 { OURS } else { OTHERS };
        let corners = [
            (0.0, SegmentValue::Exact(row(i))),
            (*rate, SegmentValue::Exact(row(i) + 1)),
        ];
        let mut bar = Rectangle::new(corners, color.filled());
        bar.set_margin(5, 5, 0, 0);
        bar
    };
    chart.draw_series(bars.iter().enumerate().map(bar))?;
    let number = |(i, (_, rate)): (usize, &(&str, f64))| {
        let at = (*rate, SegmentValue::CenterOf(row(i)));
        EmptyElement::at(at) + Text::new(digits(*rate), (6, -6), TEXT)
    };
    chart.draw_series(bars.iter().enumerate().map(number))?;
    canvas.present()?;
    Ok(())
}

/// Draws the peak memory in MiB, against the output in MiB, and its limit.
pub fn memory(path: &Path, points: &[(f64, f64)]) -> Result<()> {
    const LIMIT: f64 = 3.0;
    let canvas = canvas(path, 300)?;
    let last = points.last().map_or(1.0, |(output, _)| *output);
    let most = points.iter().map(|(_, peak)| *peak).fold(LIMIT, f64::max);
    let mut chart = ChartBuilder::on(&canvas)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((1.0..last * 1.1).log_scale(), 0.0..most * 1.1)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(TEXT)
        .x_label_formatter(&|mib| format!("{mib:.0}"))
        .y_label_formatter(&|mib| format!("{mib:.1}"))
        .x_desc("MiB of output")
        .y_desc("peak memory, MiB")
        .draw()?;
    let limit = [(1.0, LIMIT), (last * 1.1, LIMIT)];
    chart.draw_series(LineSeries::new(limit, RED.mix(0.6)))?;
    let line = LineSeries::new(points.iter().copied(), OURS.stroke_width(2)).point_size(3);
    chart.draw_series(line)?;
    canvas.present()?;
    Ok(())
}

/// Draws which share of the lines took at most how many µs: the rarer, the further to
/// the right.
pub fn delays(path: &Path, curves: &[(&str, Samples)]) -> Result<()> {
    let canvas = canvas(path, 400)?;
    // A share of 1 - 10^-NINES: there are samples for so many.
    const NINES: f64 = 3.5;
    let least = curves
        .iter()
        .map(|(_, d)| d.quantile(0.0))
        .fold(1e6, f64::min);
    let most = curves.iter().map(|(_, d)| d.most()).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&canvas)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..NINES, (least * 0.8..most * 1.2).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(TEXT)
        .x_labels(4)
        .x_label_formatter(&|nines| match *nines {
            n if n < 0.5 => "0".to_owned(),
            n => format!("{} %", 100.0 - 10f64.powf(2.0 - n.round())),
        })
        .y_label_formatter(&|delay| format!("{delay:.0}"))
        .x_desc("share of lines")
        .y_desc("µs from write to console, at most")
        .draw()?;
    for (i, (name, delays)) in curves.iter().enumerate() {
        let style = match i {
            0 => BLACK.stroke_width(1),
            1 => OURS.stroke_width(3),
            _ => LINES[i % LINES.len()].stroke_width(1),
        };
        let points = (0..=70).map(|step| {
            let nines = NINES * f64::from(step) / 70.0;
            (nines, delays.quantile(1.0 - 10f64.powf(-nines)))
        });
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(TEXT)
        .border_style(OTHERS)
        .background_style(WHITE)
        .draw()?;
    canvas.present()?;
    Ok(())
}
