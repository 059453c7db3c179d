module @lockstep {
  func.func public @main(%arg0: tensor<3xf32>, %arg1: tensor<4x3xf32>, %arg2: tensor<i32>) -> (tensor<3xf32>, tensor<4xf32>) {
    %43:3 = func.call @cluster_0(%arg0, %arg1, %arg2) {mhlo.frontend_attributes = {inlineable = "false", xla_cpu_small_call = "true"}} : (tensor<3xf32>, tensor<4x3xf32>, tensor<i32>) -> (tensor<3xf32>, tensor<4xf32>, tensor<ui32>)
    return %43#0, %43#1 : tensor<3xf32>, tensor<4xf32>
  }
  func.func private @cluster_0(%in0: tensor<3xf32>, %in1: tensor<4x3xf32>, %in2: tensor<i32>) -> (tensor<3xf32>, tensor<4xf32>, tensor<ui32>) {
    %0 = stablehlo.constant dense<0> : tensor<i32>
    %1 = stablehlo.multiply %in2, %0 : tensor<i32>
    %4:2 = stablehlo.while(%iter2 = %in0, %iter3 = %1) : tensor<3xf32>, tensor<i32>
    cond {
      %5 = stablehlo.compare LT, %iter3, %in2, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %5 : tensor<i1>
    } do {
      %6 = stablehlo.constant dense<0x3FC00000> : tensor<f32>
      %7 = stablehlo.broadcast_in_dim %6, dims = [] : (tensor<f32>) -> tensor<3xf32>
      %8 = stablehlo.multiply %iter2, %7 : tensor<3xf32>
      %9 = stablehlo.constant dense<1> : tensor<i32>
      %10 = stablehlo.add %iter3, %9 : tensor<i32>
      stablehlo.return %8, %10 : tensor<3xf32>, tensor<i32>
    }
    %11 = stablehlo.constant dense<0> : tensor<i32>
    %12 = stablehlo.constant dense<0x00000000> : tensor<f32>
    %13 = stablehlo.broadcast_in_dim %12, dims = [] : (tensor<f32>) -> tensor<4xf32>
    %17:3 = stablehlo.while(%iter14 = %11, %iter15 = %4#0, %iter16 = %13) : tensor<i32>, tensor<3xf32>, tensor<4xf32>
    cond {
      %18 = stablehlo.constant dense<4> : tensor<i32>
      %19 = stablehlo.compare LT, %iter14, %18, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %19 : tensor<i1>
    } do {
      %20 = stablehlo.constant dense<0> : tensor<i32>
      %21 = stablehlo.dynamic_slice %in1, %iter14, %20, sizes = [1, 3] : (tensor<4x3xf32>, tensor<i32>, tensor<i32>) -> tensor<1x3xf32>
      %22 = stablehlo.reshape %21 : (tensor<1x3xf32>) -> tensor<3xf32>
      %23 = stablehlo.add %iter15, %22 : tensor<3xf32>
      %24 = stablehlo.tanh %23 : tensor<3xf32>
      %25 = stablehlo.constant dense<0xFF800000> : tensor<f32>
      %26 = stablehlo.reduce(%iter15 init: %25) applies stablehlo.maximum across dimensions = [0] : (tensor<3xf32>, tensor<f32>) -> tensor<f32>
      %27 = stablehlo.constant dense<1> : tensor<i32>
      %28 = stablehlo.add %iter14, %27 : tensor<i32>
      %29 = stablehlo.reshape %26 : (tensor<f32>) -> tensor<1xf32>
      %30 = stablehlo.constant dense<0> : tensor<i32>
      %31 = stablehlo.dynamic_update_slice %iter16, %29, %iter14 : (tensor<4xf32>, tensor<1xf32>, tensor<i32>) -> tensor<4xf32>
      stablehlo.return %28, %24, %31 : tensor<i32>, tensor<3xf32>, tensor<4xf32>
    }
    %32 = stablehlo.constant dense<0> : tensor<ui32>
    %33 = stablehlo.slice %in0 [0:1:1] : (tensor<3xf32>) -> tensor<1xf32>
    %34 = stablehlo.reshape %33 : (tensor<1xf32>) -> tensor<f32>
    %35 = stablehlo.bitcast_convert %34 : (tensor<f32>) -> tensor<ui32>
    %36 = stablehlo.xor %32, %35 : tensor<ui32>
    %37 = stablehlo.slice %in1 [0:1:1, 0:1:1] : (tensor<4x3xf32>) -> tensor<1x1xf32>
    %38 = stablehlo.reshape %37 : (tensor<1x1xf32>) -> tensor<f32>
    %39 = stablehlo.bitcast_convert %38 : (tensor<f32>) -> tensor<ui32>
    %40 = stablehlo.xor %36, %39 : tensor<ui32>
    %41 = stablehlo.convert %in2 : (tensor<i32>) -> tensor<ui32>
    %42 = stablehlo.xor %40, %41 : tensor<ui32>
    return %17#1, %17#2, %42 : tensor<3xf32>, tensor<4xf32>, tensor<ui32>
  }
}
