//! Elastic tab stops: text whose cells end in tabs becomes aligned columns. A column is a run of adjacent lines that have a cell
//! there, so that a block of rows deep in a text is aligned apart from the rest, as Kubernetes' own tools do it.

/// How wide columns are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Least width of a column, its padding included.
    pub(crate) width_min: usize,
    /// Spaces after the widest cell of a column.
    pub(crate) padding: usize,
}

impl Layout {
    /// For tables of resources.
    pub(crate) const TABLE: Self = Self { width_min: 6, padding: 3 };
    /// For descriptions.
    pub(crate) const DESCRIPTION: Self = Self { width_min: 0, padding: 2 };
}

/// Aligns the cells of `text`. What follows the last tab of a line is not a cell and does not widen its column.
pub(crate) fn align(text: &str, layout: Layout) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut aligned = String::with_capacity(text.len() * 2);
    block(&lines, &mut Vec::new(), layout, &mut aligned);
    aligned
}

/// Writes lines that share the columns in `widths`, finding the blocks of the next column among them.
fn block(lines: &[Vec<&str>], widths: &mut Vec<usize>, layout: Layout, aligned: &mut String) {
    let column = widths.len();
    let mut rest = lines;
    while let Some(first) = rest.first() {
        let has_cell = first.len() > column + 1;
        let run = rest.iter().take_while(|line| (line.len() > column + 1) == has_cell).count();
        let (same, others) = rest.split_at(run);
        if has_cell {
            let widest = same.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
            widths.push(layout.width_min.max(widest + layout.padding));
            block(same, widths, layout, aligned);
            widths.pop();
        } else {
            same.iter().for_each(|line| write_line(line, widths, aligned));
        }
        rest = others;
    }
}

fn write_line(cells: &[&str], widths: &[usize], aligned: &mut String) {
    for (index, cell) in cells.iter().enumerate() {
        aligned.push_str(cell);
        if let Some(width) = widths.get(index) {
            let missing = width.saturating_sub(cell.chars().count());
            aligned.extend(std::iter::repeat_n(' ', missing));
        }
    }
    aligned.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{Layout, align};

    #[test]
    fn columns() {
        let check = |text: &str, expected: &str| assert_eq!(align(text, Layout::DESCRIPTION), expected);
        check("Name:\tx\nNamespace:\ty\n", "Name:       x\nNamespace:  y\n");
        check("a\tb\nlonger line without a cell\nccc\td\n", "a  b\nlonger line without a cell\nccc  d\n");
        check("Type\tStatus\nReady \tTrue \n", "Type    Status\nReady   True \n");
        check("a:\n  bb:\tc\n  d:\te\tf\n", "a:\n  bb:  c\n  d:   e  f\n");
    }

    #[test]
    fn tables_have_a_least_width() {
        assert_eq!(align("N\tR\tX\nd2\t1\t<none>\n", Layout::TABLE), "N     R     X\nd2    1     <none>\n");
    }
}
