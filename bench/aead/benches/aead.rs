//! The same as `aead-table` under criterion, which keeps a history and says what became slower.
//! It does not interleave: for comparisons between contenders the table is the better tool.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weapon_aead_bench::{batch::Batch, contender, measure::Operation};

const SIZES: [usize; 7] = [64, 128, 256, 576, 1280, 1420, 8900];
const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 45, 64];

fn benchmark(criterion: &mut Criterion) {
    for operation in Operation::ALL {
        for size in SIZES {
            for count in BATCHES {
                let name = format!("{}/{size}/{count}", operation.name());
                let mut group = criterion.benchmark_group(name);
                let mut batch = Batch::new(size, count);
                group.throughput(Throughput::Bytes(batch.bytes() as u64));
                for mut contender in contender::all() {
                    contender.seal(&mut batch);
                    let id = BenchmarkId::from_parameter(contender.name());
                    group.bench_function(id, |bencher| {
                        bencher.iter(|| operation.run(contender.as_mut(), &mut batch));
                    });
                }
                group.finish();
            }
        }
    }
}

criterion_group!(aead, benchmark);
criterion_main!(aead);
