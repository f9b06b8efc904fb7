//! Tests of recovery shares.

mod openbao;
mod sets;
mod slots;
mod texts;
mod written;

use chartlock::keys::Shares;

/// Returns the printed texts of all shares.
fn texts_of(shares: &Shares) -> Vec<String> {
    let texts = shares.all().iter().map(|share| share.to_text().to_string());
    texts.collect()
}

/// Returns every way to choose `size` of `items`.
fn subsets<T: Clone>(items: &[T], size: usize) -> Vec<Vec<T>> {
    let all = (0..1_u32 << items.len()).filter(|mask| mask.count_ones() as usize == size);
    let chosen = all.map(|mask| {
        let kept = items.iter().enumerate();
        let kept = kept.filter(|(place, _)| mask >> place & 1 == 1);
        kept.map(|(_, item)| item.clone()).collect()
    });
    chosen.collect()
}
